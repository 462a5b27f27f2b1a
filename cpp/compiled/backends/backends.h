// What takes the place of the runtime's header of this name in a compiled network, which calls no
// other library.
#pragma once

namespace linnet {

struct Backends {};

}  // namespace linnet
