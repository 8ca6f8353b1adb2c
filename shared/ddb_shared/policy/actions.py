"""The actions that the commands call, by what they call them for.

https://docs.aws.amazon.com/service-authorization/latest/reference/list_amazondynamodb.html and …/list_amazons3.html
"""

from __future__ import annotations

from typing import Final

# Without these, a setting is recorded as unknown and the export goes on.
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
READ_TABLE: Final = ("dynamodb:DescribeTable", "dynamodb:Scan")
# `ddb-verify --tables` reads again, consistently, what differs from a table of the source.
COMPARE: Final = ("dynamodb:BatchGetItem",)
LOAD: Final = ("dynamodb:DescribeTable", "dynamodb:BatchWriteItem")
SKIP_EXISTING: Final = ("dynamodb:PutItem",)
VERIFY: Final = ("dynamodb:Scan", *COMPARE)
CREATE: Final = (
    "dynamodb:CreateTable",
    "dynamodb:UpdateTable",
    "dynamodb:UpdateTimeToLive",
    "dynamodb:UpdateContinuousBackups",
    "dynamodb:TagResource",
    "dynamodb:PutResourcePolicy",
    "dynamodb:UpdateContributorInsights",
)
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
# Unfinished uploads, to abort them; the ownership setting, which decides whether objects need an ACL.
LOOK_AT_BUCKET: Final = ("s3:ListBucketMultipartUploads", "s3:GetBucketOwnershipControls")
