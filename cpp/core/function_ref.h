// A function to call back, of whatever type, borrowed for as long as the call it is given to.
// Unlike std::function it owns and allocates nothing.
#pragma once

namespace linnet {

template <typename Signature>
class FunctionRef;

template <typename R, typename... Args>
class FunctionRef<R(Args...)> {
 public:
  template <typename F>
  FunctionRef(const F& function)  // NOLINT: as std::function is made from one
      : function_(&function), call_([](const void* f, Args... args) -> R {
          return (*static_cast<const F*>(f))(args...);
        }) {}

  R operator()(Args... args) const { return call_(function_, args...); }

 private:
  const void* function_;
  R (*call_)(const void*, Args...);
};

}  // namespace linnet
