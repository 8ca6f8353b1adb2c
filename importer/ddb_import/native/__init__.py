"""Imports that DynamoDB makes by itself: ImportTable into a new table, StartBulkPutItems into one that exists.

https://docs.aws.amazon.com/amazondynamodb/latest/developerguide/S3DataImport.HowItWorks.html
"""
