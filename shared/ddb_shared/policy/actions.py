"""The IAM actions that the commands need, by purpose.

https://docs.aws.amazon.com/service-authorization/latest/reference/list_amazondynamodb.html and …/list_amazons3.html
"""

from __future__ import annotations

from typing import Final

# Without these, a setting is recorded as unknown and the export continues.
READ_SETTINGS: Final = (
    "dynamodb:DescribeTimeToLive",
    "dynamodb:DescribeContinuousBackups",
    "dynamodb:ListTagsOfResource",
    "dynamodb:GetResourcePolicy",
    "dynamodb:DescribeKinesisStreamingDestination",
    "dynamodb:DescribeContributorInsights",
)
READ_SCALING: Final = (
    "application-autoscaling:DescribeScalableTargets",
    "application-autoscaling:DescribeScalingPolicies",
    "application-autoscaling:DescribeScheduledActions",
)
# The plan and the report say the cost at AWS's own prices; without it, at those of the package.
READ_PRICES: Final = ("pricing:GetProducts",)
READ_TABLE: Final = ("dynamodb:DescribeTable", "dynamodb:Scan")
# `ddb-export 'prod-*'`
FIND_TABLES: Final = ("dynamodb:ListTables",)
# `ddb-verify --tables` reads differing items of the source table again with consistent reads.
COMPARE: Final = ("dynamodb:BatchGetItem",)
# `--method pitr`. DynamoDB writes the export with the caller's permissions, PutObjectAcl among them:
# https://docs.aws.amazon.com/amazondynamodb/latest/developerguide/S3DataExport_Requesting.html
EXPORT_NATIVELY: Final = ("dynamodb:ExportTableToPointInTime",)
FOLLOW_EXPORT: Final = ("dynamodb:DescribeExport",)
FIND_EXPORT: Final = ("dynamodb:ListExports",)
ENABLE_BACKUPS: Final = ("dynamodb:UpdateContinuousBackups",)
LOAD: Final = ("dynamodb:DescribeTable", "dynamodb:BatchWriteItem")
# `--engine import-table`, and what DynamoDB does in the caller's name: it reads the bucket and logs what it refuses.
# https://docs.aws.amazon.com/amazondynamodb/latest/developerguide/S3DataImport.Requesting.html
IMPORT_TABLE: Final = ("dynamodb:ImportTable",)
FOLLOW_IMPORT: Final = ("dynamodb:DescribeImport",)
FIND_IMPORT: Final = ("dynamodb:ListImports",)
LOG_IMPORT: Final = (
    "logs:CreateLogGroup",
    "logs:CreateLogStream",
    "logs:DescribeLogGroups",
    "logs:DescribeLogStreams",
    "logs:PutLogEvents",
    "logs:PutRetentionPolicy",
)
# `--engine bulk`. That the actions have the names of the operations, as all others of DynamoDB, is assumed (docs/witnesses.md).
BULK_PUT: Final = ("dynamodb:StartBulkPutItems",)
FOLLOW_BULK: Final = ("dynamodb:DescribeBulkOperation", "dynamodb:CancelBulkOperation")
FIND_BULK: Final = ("dynamodb:ListBulkOperations",)
SKIP_EXISTING: Final = ("dynamodb:PutItem",)
VERIFY: Final = ("dynamodb:Scan", *COMPARE)
# `ddb-verify --repair` and --delete-extra
REPAIR: Final = ("dynamodb:PutItem", "dynamodb:DeleteItem")
CREATE: Final = (
    "dynamodb:CreateTable",
    "dynamodb:UpdateTable",
    "dynamodb:UpdateTimeToLive",
    "dynamodb:UpdateContinuousBackups",
    "dynamodb:TagResource",
    "dynamodb:PutResourcePolicy",
    "dynamodb:UpdateContributorInsights",
)
# `--follow` reads the table's stream, and enables and disables one of its own.
READ_STREAM: Final = ("dynamodb:DescribeStream", "dynamodb:GetShardIterator", "dynamodb:GetRecords")
SWITCH_STREAM: Final = ("dynamodb:UpdateTable",)
# `--finish --block-writes` and `--unblock`.
BLOCK_WRITES: Final = ("dynamodb:PutResourcePolicy", "dynamodb:DeleteResourcePolicy")
# https://docs.aws.amazon.com/amazondynamodb/latest/developerguide/encryption.usagenotes.html
READ_ENCRYPTED: Final = ("kms:Decrypt",)
CREATE_ENCRYPTED: Final = (
    "kms:CreateGrant",
    "kms:DescribeKey",
    "kms:Encrypt",
    "kms:Decrypt",
    "kms:GenerateDataKey*",
    "kms:ReEncrypt*",
)
SET_SCALING: Final = (
    "application-autoscaling:RegisterScalableTarget",
    "application-autoscaling:PutScalingPolicy",
    "application-autoscaling:PutScheduledAction",
)
WRITE_OBJECTS: Final = ("s3:PutObject", "s3:GetObject", "s3:AbortMultipartUpload")
# Denied to the source: plan, lease and checkpoints of an import belong to the destination.
WRITE_IMPORT_STATE: Final = ("s3:PutObject", "s3:PutObjectAcl")
# Lists unfinished uploads, to abort them, and reads Object Ownership, which decides whether objects need an ACL.
INSPECT_BUCKET: Final = ("s3:ListBucketMultipartUploads", "s3:GetBucketOwnershipControls")
