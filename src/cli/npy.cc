#include "cli/npy.h"

#include <fmt/format.h>

#include <bit>
#include <cerrno>
#include <utility>

#include "base/output_file.h"
#include "cli/terminal.h"

namespace kinglet::cli {

static_assert(std::endian::native == std::endian::little, "rows are written as they lie in memory, marked '<f4'");

Result<NpyWriter> NpyWriter::create(const std::string& path, int64_t rows, int64_t columns) {
  NpyWriter writer;
  writer.path_ = path;
  if (path != "-") {
    KL_RETURN_IF_ERROR(check_output_file(path));
    writer.temporary_ = temporary_name(path);
    writer.file_ = std::fopen(writer.temporary_.c_str(), "wb");
    if (!writer.file_) return writer.failed();
  }
  std::string header = fmt::format("{{'descr': '<f4', 'fortran_order': False, 'shape': ({}, {}), }}", rows, columns);
  constexpr size_t kPrefix = 10, kAlignment = 64;  // magic, version, header length; data starts on a multiple of 64
  header.append((kAlignment - (kPrefix + header.size() + 1) % kAlignment) % kAlignment, ' ');
  header += '\n';
  const auto length = static_cast<uint16_t>(header.size());
  const char prefix[kPrefix] = {
      '\x93', 'N', 'U', 'M', 'P', 'Y', 1, 0, static_cast<char>(length & 255), static_cast<char>(length >> 8)};
  KL_RETURN_IF_ERROR(writer.put(prefix, kPrefix));
  KL_RETURN_IF_ERROR(writer.put(header.data(), header.size()));
  return writer;
}

NpyWriter::NpyWriter(NpyWriter&& other) noexcept
    : path_(std::move(other.path_)),
      temporary_(std::move(other.temporary_)),
      file_(std::exchange(other.file_, nullptr)) {}

NpyWriter::~NpyWriter() {
  if (!file_) return;
  std::fclose(file_);
  std::remove(temporary_.c_str());
}

Error NpyWriter::failed() const {
  return cannot_write(path_ == "-" ? "standard output" : path_, errno);
}

Status NpyWriter::put(const char* data, size_t size) {
  const bool written = file_ ? std::fwrite(data, 1, size, file_) == size : write_out({data, size});
  return written ? Status() : failed();
}

Status NpyWriter::write_row(std::span<const float> row) {
  return put(reinterpret_cast<const char*>(row.data()), row.size_bytes());
}

Status NpyWriter::finish() {
  if (!file_) return {};
  const int closed = std::fclose(std::exchange(file_, nullptr));
  if (closed != 0 || std::rename(temporary_.c_str(), path_.c_str()) != 0) {
    const Error error = failed();
    std::remove(temporary_.c_str());
    return error;
  }
  return {};
}

}  // namespace kinglet::cli
