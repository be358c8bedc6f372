"""The ingest service: devices send segments over mutual TLS 1.3, readers ask who sent what.

- `identity`, `authority`, `enrolment`: who may talk to it, and how they come by a certificate
- `peer`, `gate`: what a request passes before the application
- `ingest`: a segment becomes an object and a row, once and in order
- `tenant`: what readers may see
- `audit`: what was refused
- `tables`, `database`: SQLite or PostgreSQL
- `messages`, `routes`, `app`: the endpoints and their OpenAPI document
- `server`: the process

Needs the extras `lepton-chip[cloud,service]`. docs/cloud-service.md has the contract.
"""
