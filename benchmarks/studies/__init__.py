"""Commands of their own, each about one question; the report does not have them."""
