"""The config that zoo init writes for a generator of images."""

TEXT = """\
# yaml-language-server: $schema={schema}
{about}
#   {zoo} fit --config THIS_FILE    train; runs/NAME/1/previews shows what it makes, after every validation
#   {zoo} test    loss, and the training images that samples are most like
#   {zoo} predict --count 64    new images
# Every key: zoo fit --model zoo.Diffusion --help, zoo fit --data zoo.ImageData --help
model:
  class_path: zoo.Diffusion
  init_args:
    architecture:
      name: UNet2DModel             # of diffusers
      block_out_channels: {channels}
      down_block_types: [DownBlock2D, DownBlock2D, AttnDownBlock2D, AttnDownBlock2D]
      up_block_types: [AttnUpBlock2D, AttnUpBlock2D, UpBlock2D, UpBlock2D]
      attention_head_dim: 32
    image_size: {side}                  # side of the square images that it learns to make
    time_density: logit_normal
    hflip: 0.5                      # 0 where left and right mean something
    schedule: cosine
    warmup_steps: 0.02              # 2 % of all steps
    optimizer:
      class_path: torch.optim.AdamW
      init_args: {{lr: {lr}, weight_decay: 0.0}}
data:
  class_path: zoo.ImageData
  init_args:
{data}    # validation: FOLDER            # without it: a tenth of train
    batch_size: 64                  # images of one step
trainer:
  max_steps: {steps}
  check_val_every_n_epoch: {epochs}        # a validation every 1000 steps or so
  callbacks:
    - class_path: zoo.EMA           # averaged weights are validated, sampled and exported
      init_args: {{decay: 0.999}}
"""
