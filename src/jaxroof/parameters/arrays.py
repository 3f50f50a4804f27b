"""What values are."""

from typing import Any

import numpy as np
from jaxtyping import Bool, Float
from numpy.typing import NDArray

# Numbers, NumPy or JAX arrays, tracers: a leaf is whatever the transformation around it needs.
Scalar = Float[Any, ""]
Flag = Bool[Any, "..."]
Values = Float[Any, "..."]
Vector = NDArray[np.floating]
Mask = NDArray[np.bool_]
