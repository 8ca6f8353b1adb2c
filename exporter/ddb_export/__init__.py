"""Exports a DynamoDB table into a bucket: the source account's half of ddb-transfer."""
