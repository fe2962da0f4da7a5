"""Signs in with OAuth: by browser or device code (RFC 6749, RFC 7636, RFC 8628)."""
