# An image with the four commands: docker build -t ddb-transfer .
# It was written without a container engine at hand and has not been built by the project's own checks; they install the same wheel
# into clean environments of Python 3.11 to 3.13 (scripts/test-install).
FROM python:3.13-slim AS build
WORKDIR /src
COPY . .
RUN pip wheel --no-cache-dir --constraint constraints.txt --wheel-dir /wheels ".[cluster]"

FROM python:3.13-slim
COPY --from=build /wheels /wheels
RUN pip install --no-cache-dir --no-index --find-links /wheels "ddb-transfer[cluster]" && rm -rf /wheels \
    && useradd --create-home --uid 1000 mover
USER mover
WORKDIR /home/mover
# no entry point: the command is one of ddb-export, ddb-import, ddb-verify, ddb-policy
CMD ["ddb-export", "--help"]
