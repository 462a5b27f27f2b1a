"""The channels of a network's values: which go together, what is known of each, and the network
without some of them.

`couplings` has which channels can only be removed together, `signals` which are constant or equal,
`cut` the network without some, `dead` that without those that do nothing.
"""

from .couplings import Couplings
from .cut import cut
from .dead import Removed, remove_dead
from .signals import Signals

__all__ = ["Couplings", "Removed", "Signals", "cut", "remove_dead"]
