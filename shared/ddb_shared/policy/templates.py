"""The documents as a CloudFormation template and as Terraform, each for both accounts."""

from __future__ import annotations

import json
from typing import Any, Final

from ddb_shared.policy.documents import Document, Names, documents

_SIDES: Final = ("source", "destination")


def cloudformation(names: Names) -> str:
    """A template to deploy twice: in the source account with Side=source, in the destination with Side=destination.

    CloudFormation cannot add lifecycle rules to an existing bucket; MakeBucket=yes creates the bucket with them.
    """
    documents_by_name = documents(names)
    unbound = {
        "Lifecycle": documents_by_name["lifecycle"],
        "KmsKeyPolicy": documents_by_name["kms_key_statement"],
    }
    template = {
        "AWSTemplateFormatVersion": "2010-09-09",
        "Description": "ddb-transfer: roles and policies for moving a DynamoDB table between two accounts",
        "Parameters": _PARAMETERS,
        "Conditions": {
            "IsSource": _equals("Side", "source"),
            "IsDestination": _equals("Side", "destination"),
            "IsNewBucket": {"Fn::And": [_equals("Side", "destination"), _equals("MakeBucket", "yes")]},
        },
        "Resources": {
            "ExporterRole": _role(names, documents_by_name, "source"),
            "ImporterRole": _role(names, documents_by_name, "destination"),
            "Bucket": _bucket(names, documents_by_name["lifecycle"] or {}),
            "BucketPolicy": _bucket_policy(names, documents_by_name["bucket_policy"] or {}),
        },
        "Metadata": {name: document for name, document in unbound.items() if document},
    }
    return json.dumps(template, indent=2)


_PARAMETERS: Final = {
    "Side": {"Type": "String", "AllowedValues": list(_SIDES), "Description": "Which account this is"},
    "MakeBucket": {
        "Type": "String",
        "AllowedValues": ["yes", "no"],
        "Default": "no",
        "Description": "Create the bucket too, with its lifecycle rules (destination only)",
    },
}


def _equals(parameter: str, value: str) -> Document:
    return {"Fn::Equals": [{"Ref": parameter}, value]}


def _role(names: Names, documents_by_name: dict[str, Document | None], side: str) -> Document:
    name, path = _name_and_path(names.source_role if side == "source" else names.destination_role)
    return {
        "Type": "AWS::IAM::Role",
        "Condition": "IsSource" if side == "source" else "IsDestination",
        "Properties": {
            "RoleName": name,
            "Path": path,
            "AssumeRolePolicyDocument": documents_by_name[f"{side}_trust"],
            "Policies": [
                {"PolicyName": "ddb-transfer", "PolicyDocument": documents_by_name[f"{side}_policy"]}
            ],
        },
    }


def _name_and_path(role_arn: str) -> tuple[str, str]:
    path, _, name = role_arn.partition(":role")[2].rpartition("/")
    return name, f"{path}/"


def _bucket_policy(names: Names, policy: Document) -> Document:
    return {
        "Type": "AWS::S3::BucketPolicy",
        "Condition": "IsDestination",
        "Properties": {
            "Bucket": {"Fn::If": ["IsNewBucket", {"Ref": "Bucket"}, names.bucket]},
            "PolicyDocument": policy,
        },
    }


def _bucket(names: Names, lifecycle: Document) -> Document:
    key = {"KMSMasterKeyID": names.kms_key_arn} if names.kms_key_arn else {}
    encryption = {"SSEAlgorithm": "aws:kms" if key else "AES256", **key}
    closed = ["BlockPublicAcls", "BlockPublicPolicy", "IgnorePublicAcls", "RestrictPublicBuckets"]
    return {
        "Type": "AWS::S3::Bucket",
        "Condition": "IsNewBucket",
        "DeletionPolicy": "Retain",
        "UpdateReplacePolicy": "Retain",
        "Properties": {
            "BucketName": names.bucket,
            "OwnershipControls": {"Rules": [{"ObjectOwnership": "BucketOwnerEnforced"}]},
            "PublicAccessBlockConfiguration": dict.fromkeys(closed, True),
            "BucketEncryption": {
                "ServerSideEncryptionConfiguration": [{"ServerSideEncryptionByDefault": encryption}]
            },
            "LifecycleConfiguration": {"Rules": _rules(names, lifecycle)},
        },
    }


def _rules(names: Names, lifecycle: Document) -> list[Document]:
    """The lifecycle rules in CloudFormation's spelling, which differs from S3's."""
    abort, expire = lifecycle["Rules"]
    where = {"Status": "Enabled", "Prefix": names.exports}
    uploads = "AbortIncompleteMultipartUpload"
    return [
        {"Id": abort["ID"], **where, uploads: abort[uploads]},
        {"Id": expire["ID"], **where, "ExpirationInDays": expire["Expiration"]["Days"]},
    ]


def terraform(names: Names) -> str:
    """HCL with one provider for each account; configure their credentials before `terraform apply`."""
    documents_by_name = documents(names)
    parts = [_PROVIDERS.replace("REGION", names.region)]
    for side, label in zip(_SIDES, ("exporter", "importer"), strict=True):
        name, path = _name_and_path(names.source_role if side == "source" else names.destination_role)
        parts.append(
            f'resource "aws_iam_role" "{label}" {{\n'
            f"  provider           = aws.{side}\n"
            f"  name               = {_hcl(name)}\n"
            f"  path               = {_hcl(path)}\n"
            f"  assume_role_policy = jsonencode({_hcl(documents_by_name[f'{side}_trust'])})\n}}\n\n"
            f'resource "aws_iam_role_policy" "{label}" {{\n'
            f"  provider = aws.{side}\n"
            f'  name     = "ddb-transfer"\n'
            f"  role     = aws_iam_role.{label}.name\n"
            f"  policy   = jsonencode({_hcl(documents_by_name[f'{side}_policy'])})\n}}\n"
        )
    parts += [
        _terraform_bucket(names, documents_by_name),
        _terraform_lifecycle(names, documents_by_name["lifecycle"] or {}),
    ]
    if documents_by_name["kms_key_statement"]:
        parts.append(
            f'resource "aws_kms_key_policy" "exports" {{\n  provider = aws.destination\n'
            f"  key_id   = {_hcl(names.kms_key_arn)}\n"
            f"  policy   = jsonencode({_hcl(documents_by_name['kms_key_statement'])})\n}}\n"
        )
    return "\n".join(parts)


_PROVIDERS: Final = """\
# ddb-transfer: roles and policies for moving a DynamoDB table between two accounts.
# The bucket must exist in the destination account; its policy and its lifecycle rules are replaced by these.
provider "aws" {
  alias  = "source"
  region = "REGION"
}

provider "aws" {
  alias  = "destination"
  region = "REGION"
}
"""


def _terraform_bucket(names: Names, documents_by_name: dict[str, Document | None]) -> str:
    return (
        'resource "aws_s3_bucket_policy" "exports" {\n'
        "  provider = aws.destination\n"
        f"  bucket   = {_hcl(names.bucket)}\n"
        f"  policy   = jsonencode({_hcl(documents_by_name['bucket_policy'])})\n}}\n"
    )


def _terraform_lifecycle(names: Names, lifecycle: Document) -> str:
    abort, expire = lifecycle["Rules"]
    days = abort["AbortIncompleteMultipartUpload"]["DaysAfterInitiation"]
    rules = (
        (abort["ID"], f"abort_incomplete_multipart_upload {{\n      days_after_initiation = {days}\n    }}"),
        (expire["ID"], f"expiration {{\n      days = {expire['Expiration']['Days']}\n    }}"),
    )
    blocks = "".join(
        f'\n  rule {{\n    id     = "{rule}"\n    status = "Enabled"\n    filter {{\n'
        f"      prefix = {_hcl(names.exports)}\n    }}\n    {action}\n  }}\n"
        for rule, action in rules
    )
    return (
        'resource "aws_s3_bucket_lifecycle_configuration" "exports" {\n'
        f"  provider = aws.destination\n  bucket   = {_hcl(names.bucket)}\n{blocks}}}\n"
    )


def _hcl(value: Any) -> str:
    """A value as an HCL expression: JSON with HCL templates escaped."""
    text = json.dumps(value, indent=2).replace("\n", "\n  ")
    return text.replace("${", "$${").replace("%{", "%%{")
