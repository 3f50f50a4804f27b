"""Types of arrays that any module may hold."""

import numpy as np
from numpy.typing import NDArray

Vector = NDArray[np.floating]
Mask = NDArray[np.bool_]
