"""The ingest service: devices send segments over mutual TLS 1.3, readers query them.

- `identity`, `authority`, `enrolment`: devices and readers, and how they get certificates
- `peer`, `gate`: the checks of a request before the application
- `ingest`: stores and indexes each segment once, in order
- `tenant`: the rows that readers may see
- `audit`: the refused requests
- `tables`, `database`: SQLite or PostgreSQL
- `messages`, `routes`, `app`: the endpoints and their OpenAPI document
- `server`: the process

Needs the extras `lepton-chip[cloud,service]`. docs/cloud-service.md has the contract.
"""
