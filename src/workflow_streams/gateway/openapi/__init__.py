"""GET /openapi.json: describes the HTTP interface (OpenAPI 3.1)."""
