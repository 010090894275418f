"""A config of a few lines that has no mistake, for tests that put one in."""

CONFIG = """\
model:
  class_path: zoo.CausalLM
  init_args:
    pretrained: gpt2
    max_length: 8
    optimizer: {class_path: torch.optim.AdamW, init_args: {lr: 0.001}}
data:
  class_path: zoo.TextData
  init_args: {train: notes.txt}
trainer: {max_epochs: 1}
"""
