"""Settings, read and checked before anything heavy is imported. Nothing in this room imports torch or Lightning.

reading.py    YAML with line numbers, and what is wrong with a file
schema.py     what may be set: the generated schema of zoo, the Trainer, optimizers, callbacks
source.py     the same for a class outside the package, read from its source without importing it
layers.py     defaults, configs, overlays and flags, one on top of the other, each checked as it comes
checking.py   one value against what is expected of it
guards.py     the constructors' own checks, run alone
machine.py    files, cards, environment variables
generate.py   writes the schema; the only file here that imports what it describes, when it is called
"""
