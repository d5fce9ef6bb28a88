"""What the clouds share: limits, retries, waiting, schemas of cloud properties, tags, sizes, user data. No cloud is imported here."""
