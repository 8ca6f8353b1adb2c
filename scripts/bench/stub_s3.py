"""The stub's S3, path style: objects and multipart uploads in memory. Nothing is checked."""

from __future__ import annotations

import itertools
from urllib.parse import quote
from xml.sax.saxutils import escape

from bench.stub_http import Request, Response


class S3:
    """Objects and multipart uploads; listings hold at most 1,000 keys a page."""

    def __init__(self) -> None:
        self.objects: dict[str, tuple[bytes, str]] = {}
        self.uploads: dict[str, tuple[str, dict[int, bytes]]] = {}
        self.ids = itertools.count(1)
        self.stored_bytes = 0

    def call(self, request: Request) -> Response:
        """A request by method, path and query."""
        bucket, _, key = request.path[1:].partition("/")
        query = request.query
        if not key:
            return self.bucket(request, bucket)
        if request.method in {"PUT", "POST"} and ("uploads" in query or "uploadId" in query):
            return self.upload(request, f"{bucket}/{key}")
        match request.method:
            case "PUT":
                return self.store(request, f"{bucket}/{key}", request.body, self.etag())
            case "DELETE":
                self.uploads.pop(query.get("uploadId", ""), None)
                if "uploadId" not in query:
                    self.objects.pop(f"{bucket}/{key}", None)
                return Response(status=204)
            case _:
                return self.get(request, f"{bucket}/{key}")

    def etag(self) -> str:
        """A new one; hashing the body would only cost a core that the measured program may need."""
        return f"{next(self.ids):032x}"

    def store(self, request: Request, path: str, body: bytes, etag: str) -> Response:
        """Keeps an object unless If-None-Match or If-Match forbids it."""
        old = self.objects.get(path)
        wanted = request.headers.get("if-match")
        if (old and request.headers.get("if-none-match") == "*") or (
            wanted and (old is None or wanted.strip('"') != old[1])
        ):
            return _error(412, "PreconditionFailed")
        self.objects[path] = (body, etag)
        self.stored_bytes += len(body)
        return Response(headers={"ETag": f'"{etag}"'})

    def upload(self, request: Request, path: str) -> Response:
        """CreateMultipartUpload, UploadPart and CompleteMultipartUpload."""
        if "uploads" in request.query:
            name = f"upload-{next(self.ids)}"
            self.uploads[name] = (path, {})
            return xml("InitiateMultipartUploadResult", f"<UploadId>{name}</UploadId>")
        name = request.query["uploadId"]
        if name not in self.uploads:
            return _error(404, "NoSuchUpload")
        parts = self.uploads[name][1]
        if request.method == "PUT":
            parts[int(request.query["partNumber"])] = request.body
            return Response(headers={"ETag": f'"{self.etag()}"'})
        whole = b"".join(parts[number] for number in sorted(parts))
        stored = self.store(request, path, whole, etag := f"{self.etag()}-{len(parts)}")
        if stored.status != 200:
            return stored
        del self.uploads[name]
        return xml("CompleteMultipartUploadResult", f'<ETag>"{etag}"</ETag>')

    def get(self, request: Request, path: str) -> Response:
        """GetObject, or a Range of it, and HeadObject."""
        if path not in self.objects:
            return _error(404, "NoSuchKey")
        body, etag = self.objects[path]
        headers = {
            "ETag": f'"{etag}"',
            "Last-Modified": "Thu, 01 Jan 2026 00:00:00 GMT",
            "Accept-Ranges": "bytes",
        }
        if "range" not in request.headers:
            return Response(body=body, headers=headers)
        first, _, last = request.headers["range"].removeprefix("bytes=").partition("-")
        span = slice(int(first), int(last) + 1 if last else None) if first else slice(-int(last), None)
        begin, end, _ = span.indices(len(body))
        if begin >= end:
            return _error(416, "InvalidRange")
        headers["Content-Range"] = f"bytes {begin}-{end - 1}/{len(body)}"
        return Response(status=206, body=body[begin:end], headers=headers)

    def bucket(self, request: Request, bucket: str) -> Response:
        """HeadBucket, CreateBucket, DeleteBucket with all its objects, ListObjectsV2 and ListMultipartUploads."""
        query = request.query
        if request.method == "DELETE":
            self.objects = {
                path: kept for path, kept in self.objects.items() if not path.startswith(f"{bucket}/")
            }
            return Response(status=204)
        if request.method != "GET":
            return Response(headers={"x-amz-bucket-region": "us-east-1"})
        start = f"{bucket}/{query.get('prefix', '')}"
        if "uploads" in query:
            found = [(name, path) for name, (path, _) in self.uploads.items() if path.startswith(start)]
            rows = (
                f"<Upload><Key>{escape(path[len(bucket) + 1 :])}</Key><UploadId>{name}</UploadId></Upload>"
                for name, path in found
            )
            return xml("ListMultipartUploadsResult", "<IsTruncated>false</IsTruncated>" + "".join(rows))
        return self.listing(query, bucket, start)

    def listing(self, query: dict[str, str], bucket: str, start: str) -> Response:
        """ListObjectsV2, with a delimiter as S3 has it."""
        after = f"{bucket}/{query.get('continuation-token') or query.get('start-after', '')}"
        delimiter, rows = query.get("delimiter", ""), {}
        coded = "<EncodingType>url</EncodingType>" if query.get("encoding-type") == "url" else ""
        spell = quote if coded else escape
        for path in sorted(path for path in self.objects if path.startswith(start) and path > after):
            rest, cut, _ = path[len(start) :].partition(delimiter) if delimiter else ("", "", "")
            name = start + rest + cut if cut else path
            key = spell(name[len(bucket) + 1 :])
            body, etag = self.objects[path]
            size = f"<Size>{len(body)}</Size><ETag>&quot;{etag}&quot;</ETag>"
            entry = f"<Contents><Key>{key}</Key>{size}<LastModified>2026-01-01T00:00:00.000Z</LastModified></Contents>"
            rows[name] = f"<CommonPrefixes><Prefix>{key}</Prefix></CommonPrefixes>" if cut else entry
            if len(rows) == int(query.get("max-keys", "1000")):
                more = f"<NextContinuationToken>{escape(path[len(bucket) + 1 :])}</NextContinuationToken>"
                return xml(
                    "ListBucketResult",
                    f"{coded}<IsTruncated>true</IsTruncated>{more}" + "".join(rows.values()),
                )
        return xml("ListBucketResult", f"{coded}<IsTruncated>false</IsTruncated>" + "".join(rows.values()))


def xml(name: str, inside: str, status: int = 200) -> Response:
    """An answer in XML."""
    text = f'<?xml version="1.0" encoding="UTF-8"?><{name}>{inside}</{name}>'
    return Response(text.encode(), status, {"Content-Type": "application/xml"})


def _error(status: int, code: str) -> Response:
    return xml("Error", f"<Code>{code}</Code><Message>{code}</Message>", status)
