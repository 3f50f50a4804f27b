"""A Hugging Face ``config.json`` → the numbers of an ``Architecture``; loads no JAX.

``kinds`` says which ``model_type`` states its shape how, ``attention``, ``ffn`` and ``blocks`` read a layer's, and
``quantisation`` how precise it is; equal layers become one group.
"""

from jaxroof.catalogue.huggingface.kinds import KINDS as KINDS
from jaxroof.catalogue.huggingface.read import config_path as config_path
from jaxroof.catalogue.huggingface.read import load_notes as load_notes
from jaxroof.catalogue.huggingface.read import load_shape as load_shape
from jaxroof.catalogue.huggingface.read import shape_from_config as shape_from_config
