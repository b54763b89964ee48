from hypothesis import settings

# Speed is measured in benchmarks/; a slow machine fails no test.
settings.register_profile("untimed", deadline=None)
settings.load_profile("untimed")
