"""The only home of Flask: routes, hooks, and the joining of an API format to a backend."""
