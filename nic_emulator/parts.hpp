// Parts that a NIC model names: a part is one file, which registers itself under its name.
#pragma once
#include <cstdint>
#include <map>
#include <memory>
#include <stdexcept>
#include <string>
#include <vector>

namespace tb {

/// The numbers that a model gives a part, by name; each must be asked for.
class PartParameters {
 public:
  PartParameters(std::string part, const std::map<std::string, std::int64_t>& values)
      : part_(std::move(part)), left_(values) {}
  /// A number from `low` to `high`. Throws std::invalid_argument.
  std::int64_t take(const std::string& name, std::int64_t low, std::int64_t high) {
    const auto found = left_.find(name);
    if (found == left_.end()) throw std::invalid_argument(part_ + " needs " + name);
    const std::int64_t value = found->second;
    left_.erase(found);
    if (value < low || value > high) {
      throw std::invalid_argument(part_ + ": " + name + " is " + std::to_string(low) + " to " + std::to_string(high));
    }
    return value;
  }
  /// Throws std::invalid_argument if a number was given that nobody asked for.
  void finish() const {
    if (!left_.empty()) throw std::invalid_argument(part_ + " has no " + left_.begin()->first);
  }

 private:
  std::string part_;
  std::map<std::string, std::int64_t> left_;
};

/// All parts of one kind, by name.
template <typename Factory>
class Parts {
 public:
  /// Makes a part known; one for each part, at namespace scope in its file.
  struct Entry {
    Entry(const char* name, Factory make) { all()[name] = make; }
  };
  /// Throws std::invalid_argument for a name that no part has.
  static Factory get(const std::string& name) {
    const auto found = all().find(name);
    if (found == all().end()) throw std::invalid_argument("no part is called '" + name + "'");
    return found->second;
  }
  static std::vector<std::string> names() {
    std::vector<std::string> found;
    for (const auto& [name, make] : all()) found.push_back(name);
    return found;
  }

 private:
  static std::map<std::string, Factory>& all() {
    static std::map<std::string, Factory> parts;
    return parts;
  }
};

}  // namespace tb
