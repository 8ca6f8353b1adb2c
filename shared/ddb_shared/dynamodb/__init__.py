"""DynamoDB's data plane: Scan, BatchWriteItem and their relatives, with items as bytes."""
