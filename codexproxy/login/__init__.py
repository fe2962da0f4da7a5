"""Who we are upstream: logging in, staying logged in, logging out. No Flask."""
