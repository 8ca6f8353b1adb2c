"""Loads an export into a DynamoDB table: the destination account's half of ddb-transfer."""
