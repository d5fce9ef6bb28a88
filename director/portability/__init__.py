"""Whether a deployment runs on several clouds, said without touching one: what it needs, what each cloud config gives, what lacks."""
