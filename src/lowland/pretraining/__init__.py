"""Pre-training by span corruption: small models for tests, demos and domains that have no checkpoint."""
