#include <doctest/doctest.h>

#include <cstdlib>
#include <fstream>
#include <string>

#include "backends/dynlib.h"

using linnet::DynLib;
using linnet::find_once;

TEST_CASE("a library is opened, its file named and its symbols found") {
  std::string why;
  const DynLib lib = DynLib::open("libm.so.6", &why);
  REQUIRE_MESSAGE(lib, why);
  CHECK(lib.path().front() == '/');
  CHECK(lib.path().find("libm") != std::string::npos);
  auto* cosine = lib.symbol<double(double)>("cos");
  REQUIRE((cosine != nullptr));  // doctest cannot print pointers to functions
  CHECK(cosine(0.0) == 1.0);
  CHECK((lib.symbol<void()>("linnet_has_no_such_function") == nullptr));
}

TEST_CASE("a library that cannot be opened gives the reason and its name") {
  std::string why;
  CHECK_FALSE(DynLib::open("/no/such/libfoo.so", &why));
  CHECK(why.find("/no/such/libfoo.so") != std::string::npos);
  char path[] = "/tmp/linnet-dynlib-XXXXXX";
  const int file = mkstemp(path);
  REQUIRE(file >= 0);
  std::ofstream(path) << "this is no library";
  CHECK_FALSE(DynLib::open(path, &why));
  CHECK(why.find(path) != std::string::npos);
  std::remove(path);
}

TEST_CASE("a library is opened once, and a failure is tried again where somebody named the file") {
  struct Library {
    int number;
  };
  int opened = 0;
  std::string why;
  const auto find = [&](const char* name, bool named, bool there) {
    return find_once<Library>(name, named, &why, [&](std::string* reason) {
      ++opened;
      if (!there) *reason = "not there";
      return there ? std::optional<Library>({opened}) : std::nullopt;
    });
  };
  CHECK_FALSE(find("system's", false, false));
  CHECK_FALSE(find("system's", false, true));
  CHECK(opened == 1);
  CHECK(why == "not there");
  CHECK_FALSE(find("named", true, false));
  const Library* library = find("named", true, true);
  REQUIRE(library);
  CHECK(opened == 3);
  CHECK(why.empty());
  CHECK(find("named", true, false) == library);
  CHECK(opened == 3);
}
