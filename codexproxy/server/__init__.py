"""The only home of Flask: routes, hooks, and the joining of a dialect to a backend."""
