"""Exports that DynamoDB makes by itself from its backups (`--method pitr`): no read capacity, any size, no load on the table.

https://docs.aws.amazon.com/amazondynamodb/latest/developerguide/S3DataExport.HowItWorks.html
"""
