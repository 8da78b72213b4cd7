#include "regex/unicode.hpp"

#include <algorithm>

namespace guard {

Ranges normalised(Ranges ranges) {
  std::sort(ranges.begin(), ranges.end(),
            [](const Range& a, const Range& b) { return a.lo < b.lo; });
  Ranges out;
  for (const Range& r : ranges) {
    if (!out.empty() && r.lo <= out.back().hi + 1)
      out.back().hi = std::max(out.back().hi, r.hi);
    else
      out.push_back(r);
  }
  return out;
}

Ranges intersection(const Ranges& a, const Ranges& b) {
  Ranges out;
  for (std::size_t i = 0, j = 0; i < a.size() && j < b.size();) {
    const std::uint32_t lo = std::max(a[i].lo, b[j].lo), hi = std::min(a[i].hi, b[j].hi);
    if (lo <= hi) out.push_back({lo, hi});
    a[i].hi < b[j].hi ? ++i : ++j;
  }
  return out;
}

const Ranges& writable_chars() {
  static const Ranges chars{{0, 0xD7FF}, {0xE000, kMaxChar}};
  return chars;
}

// ---- Punycode -----------------------------------------------------------------------------------

std::u32string punycode(std::u32string_view text) {
  constexpr std::uint32_t kBase = 36, kLeast = 1, kMost = 26, kSkew = 38, kDamp = 700;
  std::u32string out;
  for (char32_t c : text)
    if (c < 0x80) out.push_back(c);
  std::uint32_t done = static_cast<std::uint32_t>(out.size()), n = 0x80, delta = 0, bias = 72;
  const std::uint32_t basic = done;
  if (basic > 0) out.push_back('-');
  while (done < text.size()) {
    char32_t next = kMaxChar + 1;
    for (char32_t c : text)
      if (c >= n) next = std::min(next, c);
    delta += (next - n) * (done + 1);
    n = next;
    for (char32_t c : text) {
      if (c < n) ++delta;
      if (c != n) continue;
      std::uint32_t rest = delta;
      for (std::uint32_t k = kBase;; k += kBase) {
        const std::uint32_t t = std::clamp(k > bias ? k - bias : 0, kLeast, kMost);
        const std::uint32_t digit = rest < t ? rest : t + (rest - t) % (kBase - t);
        out.push_back(digit < 26 ? 'a' + digit : '0' + digit - 26);
        if (rest < t) break;
        rest = (rest - t) / (kBase - t);
      }
      delta = (done == basic ? delta / kDamp : delta / 2);
      delta += delta / ++done;
      for (bias = 0; delta > (kBase - kLeast) * kMost / 2; bias += kBase) delta /= kBase - kLeast;
      bias += (kBase - kLeast + 1) * delta / (delta + kSkew);
      delta = 0;
    }
    ++delta, ++n;
  }
  return out;
}

// ---- UTF-8 --------------------------------------------------------------------------------------

namespace {
char32_t next_char(std::string_view bytes, std::size_t* at) {
  const unsigned char lead = static_cast<unsigned char>(bytes[(*at)++]);
  int more = lead < 0x80 ? 0 : lead < 0xE0 ? 1 : lead < 0xF0 ? 2 : 3;
  std::uint32_t c = more == 0 ? lead : lead & (0x3Fu >> more);
  for (; more > 0 && *at < bytes.size(); --more)
    c = c << 6 | (static_cast<unsigned char>(bytes[(*at)++]) & 0x3F);
  return static_cast<char32_t>(c);
}
}  // namespace

void append_utf8(std::string_view bytes, std::u32string* to) {
  for (std::size_t at = 0; at < bytes.size();) to->push_back(next_char(bytes, &at));
}

std::u32string decode_utf8(std::string_view bytes) {
  std::u32string out;
  append_utf8(bytes, &out);
  return out;
}

char32_t first_char(std::string_view bytes) {
  std::size_t at = 0;
  return next_char(bytes, &at);
}

std::string encode_utf8(std::u32string_view text) {
  std::string out;
  for (char32_t c : text) {
    if (c < 0x80) {
      out.push_back(static_cast<char>(c));
      continue;
    }
    const int more = c < 0x800 ? 1 : c < 0x10000 ? 2 : 3;
    out.push_back(static_cast<char>((0xFF00u >> (more + 1) & 0xFF) | c >> (6 * more)));
    for (int i = more - 1; i >= 0; --i)
      out.push_back(static_cast<char>(0x80 | (c >> (6 * i) & 0x3F)));
  }
  return out;
}

// ---- how JSON spells text -----------------------------------------------------------------------

std::int64_t spelled_bytes(std::uint32_t lo, std::uint32_t hi) {
  const auto meets = [&](std::uint32_t a, std::uint32_t b) {
    return std::max(lo, a) <= std::min(hi, b);
  };
  if (meets(0x23, 0x5B) || meets(0x5D, 0x7F) || meets(0x20, 0x21)) return 1;
  if (meets(8, 10) || meets(12, 13) || meets(0x22, 0x22) || meets(0x5C, 0x5C) || meets(0x80, 0x7FF))
    return 2;
  if (meets(0x800, 0xD7FF) || meets(0xE000, 0xFFFF)) return 3;
  if (meets(0x10000, kMaxChar)) return 4;
  return meets(0, 31) ? 6 : -1;
}

std::int64_t spelled_bytes(std::string_view text) {
  std::int64_t bytes = 0;
  for (char b : text) {  // each byte of a multi-byte character counts as one
    const std::uint32_t c = static_cast<std::uint8_t>(b);
    bytes += c < 0x80 ? spelled_bytes(c, c) : 1;
  }
  return bytes;
}

}  // namespace guard
