// The wire format of protobuf messages. Encoding:
// https://protobuf.dev/programming-guides/encoding.
#pragma once

#include <cstdint>
#include <cstring>
#include <stdexcept>
#include <string>
#include <vector>

namespace linnet {

// The bytes are no protobuf message.
struct Malformed : std::invalid_argument {
  using std::invalid_argument::invalid_argument;
};

struct Bytes {
  const uint8_t* begin = nullptr;
  const uint8_t* end = nullptr;
  size_t size() const { return static_cast<size_t>(end - begin); }
};

// Walks the fields of one message: `while (wire.next()) switch (wire.field())`. Fields not asked
// for are skipped. Every method throws Malformed.
class Wire {
 public:
  explicit Wire(Bytes message) : at_(message.begin), end_(message.end) {}

  bool next() {
    if (at_ == end_) return false;
    const uint64_t tag = read_varint();
    field_ = static_cast<uint32_t>(tag >> 3);
    type_ = static_cast<int>(tag & 7);
    if (tag > UINT32_MAX || field_ == 0) throw Malformed("invalid field number");
    switch (type_) {
      case kVarint:
        varint_ = read_varint();
        break;
      case kFixed64:
        take(8);
        break;
      case kBytes: {
        const uint64_t size = read_varint();
        if (size > static_cast<size_t>(end_ - at_))
          throw Malformed("truncated (a field is longer than its message)");
        take(static_cast<size_t>(size));
        break;
      }
      case kFixed32:
        take(4);
        break;
      default:
        throw Malformed("unknown wire type");
    }
    return true;
  }

  uint32_t field() const { return field_; }
  bool is_bytes() const { return type_ == kBytes; }

  int64_t integer() const {
    expect(kVarint);
    return static_cast<int64_t>(varint_);
  }
  float real() const {
    expect(kFixed32);
    float f;
    std::memcpy(&f, bytes_.begin, sizeof f);
    return f;
  }
  Bytes bytes() const {
    expect(kBytes);
    return bytes_;
  }

  // Appends a repeated int64 field's element or packed elements, until there are `most`; whether
  // all were appended.
  bool integers(std::vector<int64_t>* list, size_t most) const {
    if (type_ == kVarint) return append(list, static_cast<int64_t>(varint_), most);
    Wire packed(bytes());
    while (packed.at_ != packed.end_) {
      if (!append(list, static_cast<int64_t>(packed.read_varint()), most)) return false;
    }
    return true;
  }
  // The same for a repeated float field.
  bool reals(std::vector<double>* list, size_t most) const {
    if (type_ == kFixed32) return append(list, static_cast<double>(real()), most);
    Wire packed(bytes());
    while (packed.at_ != packed.end_) {
      packed.type_ = kFixed32;
      packed.take(sizeof(float));
      if (!append(list, static_cast<double>(packed.real()), most)) return false;
    }
    return true;
  }

 private:
  static constexpr int kVarint = 0, kFixed64 = 1, kBytes = 2, kFixed32 = 5;

  void expect(int type) const {
    if (type_ != type)
      throw Malformed("field " + std::to_string(field_) + " has an unexpected type");
  }
  void take(size_t size) {
    if (size > static_cast<size_t>(end_ - at_)) throw Malformed("truncated");
    bytes_ = {at_, at_ + size};
    at_ += size;
  }
  uint64_t read_varint() {
    uint64_t value = 0;
    for (int shift = 0; shift < 64; shift += 7) {
      if (at_ == end_) throw Malformed("truncated");
      const uint8_t byte = *at_++;
      value |= static_cast<uint64_t>(byte & 0x7f) << shift;
      if (byte < 0x80) return value;
    }
    throw Malformed("invalid integer");
  }
  template <typename T>
  static bool append(std::vector<T>* list, T value, size_t most) {
    if (list->size() == most) return false;
    list->push_back(value);
    return true;
  }

  const uint8_t* at_;
  const uint8_t* end_;
  uint32_t field_ = 0;
  int type_ = 0;
  uint64_t varint_ = 0;
  Bytes bytes_;
};

}  // namespace linnet
