#include "hub/zip.h"

#include <fcntl.h>
#include <unistd.h>
#include <zlib.h>

#include <algorithm>
#include <cerrno>
#include <vector>

#include "hub/files.h"

namespace kinglet::hub {
namespace {

constexpr uint32_t kEndSignature = 0x06054b50;
constexpr uint32_t kEntrySignature = 0x02014b50;
constexpr uint32_t kLocalSignature = 0x04034b50;
constexpr size_t kEndBytes = 22;
constexpr size_t kEntryBytes = 46;
constexpr size_t kLocalBytes = 30;
constexpr uint64_t kMaxDirectoryBytes = 64u << 20;

uint32_t read_u16(const std::string& bytes, size_t at) {
  return static_cast<uint32_t>(static_cast<unsigned char>(bytes[at])) |
         static_cast<uint32_t>(static_cast<unsigned char>(bytes[at + 1])) << 8;
}
uint32_t read_u32(const std::string& bytes, size_t at) {
  return read_u16(bytes, at) | read_u16(bytes, at + 2) << 16;
}

struct Archive {
  std::string path;
  FileHandle file;
  uint64_t size = 0;

  Error broken(const std::string& what) const {
    return {ErrorCode::kInvalid, path + ": not a usable zip archive: " + what};
  }

  Result<std::string> read(uint64_t offset, uint64_t bytes) const {
    if (offset > size || bytes > size - offset) return broken("a record lies outside the file");
    std::string out(bytes, '\0');
    for (size_t have = 0; have < out.size();) {
      const ssize_t n = ::pread(file.get(), out.data() + have, out.size() - have, static_cast<off_t>(offset + have));
      if (n < 0 && errno == EINTR) continue;
      if (n < 0) return io_error("cannot read", path, errno);
      if (n == 0) return broken("it ends early");
      have += static_cast<size_t>(n);
    }
    return out;
  }
};

struct Member {
  uint32_t method = 0;
  uint32_t crc = 0;
  uint64_t packed = 0;
  uint64_t unpacked = 0;
  uint64_t data_offset = 0;
};

Result<std::string> read_directory(const Archive& archive) {
  const uint64_t tail_bytes = std::min<uint64_t>(archive.size, kEndBytes + 65535);
  if (tail_bytes < kEndBytes) return archive.broken("too short");
  KL_TRY(const std::string tail, archive.read(archive.size - tail_bytes, tail_bytes));
  for (size_t at = tail.size() - kEndBytes + 1; at-- > 0;) {
    if (read_u32(tail, at) != kEndSignature || read_u16(tail, at + 20) != tail.size() - at - kEndBytes) continue;
    const uint64_t bytes = read_u32(tail, at + 12);
    const uint64_t offset = read_u32(tail, at + 16);
    if (bytes > kMaxDirectoryBytes || offset == 0xffffffff) return archive.broken("a zip64 or oversized directory");
    return archive.read(offset, bytes);
  }
  return archive.broken("no end record");
}

Result<Member> find_member(const Archive& archive, const std::string& name) {
  KL_TRY(const std::string directory, read_directory(archive));
  for (size_t at = 0; at + kEntryBytes <= directory.size();) {
    if (read_u32(directory, at) != kEntrySignature) return archive.broken("damaged directory");
    const size_t name_bytes = read_u16(directory, at + 28);
    const size_t entry_bytes = kEntryBytes + name_bytes + read_u16(directory, at + 30) + read_u16(directory, at + 32);
    if (entry_bytes > directory.size() - at) return archive.broken("damaged directory");
    if (directory.compare(at + kEntryBytes, name_bytes, name) != 0) {
      at += entry_bytes;
      continue;
    }
    if ((read_u16(directory, at + 8) & 1) != 0) return archive.broken("the member is encrypted");
    Member member{read_u16(directory, at + 10), read_u32(directory, at + 16), read_u32(directory, at + 20),
                  read_u32(directory, at + 24), 0};
    const uint64_t local_offset = read_u32(directory, at + 42);
    KL_TRY(const std::string local, archive.read(local_offset, kLocalBytes));
    if (read_u32(local, 0) != kLocalSignature) return archive.broken("damaged local header");
    member.data_offset = local_offset + kLocalBytes + read_u16(local, 26) + read_u16(local, 28);
    if (member.data_offset > archive.size || member.packed > archive.size - member.data_offset) {
      return archive.broken("the member lies outside the file");
    }
    return member;
  }
  return Error{ErrorCode::kNotFound, archive.path + ": has no member " + name};
}

struct Inflater {
  z_stream stream{};
  bool ready = false;
  Inflater() { ready = inflateInit2(&stream, -MAX_WBITS) == Z_OK; }
  ~Inflater() {
    if (ready) inflateEnd(&stream);
  }
  Inflater(const Inflater&) = delete;
  Inflater& operator=(const Inflater&) = delete;
};

// Passes bytes on while counting and checking them.
class CheckedSink {
 public:
  CheckedSink(uint64_t limit, const std::function<Status(std::string_view)>& sink) : limit_(limit), sink_(sink) {}

  Status write(const Archive& archive, std::string_view bytes) {
    if (bytes.size() > limit_ - count_) return archive.broken("the member is larger than it says");
    count_ += bytes.size();
    crc_ = crc32(crc_, reinterpret_cast<const Bytef*>(bytes.data()), static_cast<uInt>(bytes.size()));
    return sink_(bytes);
  }
  uint64_t count() const { return count_; }
  uint32_t crc() const { return static_cast<uint32_t>(crc_); }

 private:
  uint64_t limit_;
  const std::function<Status(std::string_view)>& sink_;
  uint64_t count_ = 0;
  uLong crc_ = crc32(0, nullptr, 0);
};

Status inflate_chunk(const Archive& archive, Inflater& inflater, std::string& chunk, std::vector<char>& out,
                     CheckedSink& sink, bool* ended) {
  z_stream& stream = inflater.stream;
  stream.next_in = reinterpret_cast<Bytef*>(chunk.data());
  stream.avail_in = static_cast<uInt>(chunk.size());
  // A full output buffer may mean that more is pending although all input is taken.
  bool full = true;
  while ((stream.avail_in > 0 || full) && !*ended) {
    stream.next_out = reinterpret_cast<Bytef*>(out.data());
    stream.avail_out = static_cast<uInt>(out.size());
    const int code = inflate(&stream, Z_NO_FLUSH);
    if (code == Z_BUF_ERROR && stream.avail_in == 0) break;  // nothing was pending
    if (code != Z_OK && code != Z_STREAM_END) return archive.broken("damaged compressed data");
    KL_RETURN_IF_ERROR(sink.write(archive, {out.data(), out.size() - stream.avail_out}));
    *ended = code == Z_STREAM_END;
    full = stream.avail_out == 0;
  }
  return {};
}

}  // namespace

Status extract_zip_member(const std::string& path, const std::string& name, uint64_t expected_bytes,
                          const std::function<Status(std::string_view)>& sink) {
  constexpr uint64_t kChunk = 1u << 18;
  Archive archive{path, {}, 0};
  if (!is_regular_file(path, &archive.size)) return Error{ErrorCode::kNotFound, path + ": no such file"};
  KL_TRY(archive.file, open_file(path, O_RDONLY));
  KL_TRY(const Member member, find_member(archive, name));
  if (member.unpacked != expected_bytes) {
    return archive.broken(name + " has " + std::to_string(member.unpacked) + " bytes, expected " +
                          std::to_string(expected_bytes));
  }
  if (member.method != Z_DEFLATED && member.method != 0) return archive.broken("unknown compression method");
  CheckedSink checked(expected_bytes, sink);
  Inflater inflater;
  if (!inflater.ready) return Error{ErrorCode::kResource, path + ": no memory to unpack"};
  std::vector<char> out(kChunk);
  bool ended = false;
  for (uint64_t at = 0; at < member.packed && !ended; at += kChunk) {
    KL_TRY(std::string chunk, archive.read(member.data_offset + at, std::min(kChunk, member.packed - at)));
    if (member.method == 0) {
      KL_RETURN_IF_ERROR(checked.write(archive, chunk));
    } else {
      KL_RETURN_IF_ERROR(inflate_chunk(archive, inflater, chunk, out, checked, &ended));
    }
  }
  if (checked.count() != expected_bytes || checked.crc() != member.crc) return archive.broken(name + " is damaged");
  return {};
}

}  // namespace kinglet::hub
