"""Settings, merged and checked before anything heavy is imported. Nothing in this room imports torch or Lightning.

config_file.py  a YAML file as a tree whose values know their lines, or why it is none
merging.py      defaults, configs, overlays and flags, one on top of the other: the one merge
checking.py     the result against what is expected of it, and as constructors take it
schema.py       what may be set: the generated schema of zoo, the Trainer, optimizers, callbacks
source.py       the same for a class outside the package, read from its source without importing it
machine.py      files, GPUs, environment variables
problems.py     what is wrong, a line each
generate.py     writes the schema; the only file here that imports what it describes, when it is called
"""
