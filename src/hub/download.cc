#include "hub/download.h"

#include <fcntl.h>
#include <sys/stat.h>
#include <unistd.h>

#include <algorithm>
#include <atomic>
#include <cerrno>
#include <chrono>
#include <condition_variable>
#include <deque>
#include <mutex>
#include <thread>

#include "hub/documents.h"
#include "hub/files.h"
#include "hub/retry.h"

namespace kinglet::hub {
namespace {

constexpr uint64_t kMaxPieces = 50'000;
constexpr uint64_t kProgressThatCounts = 1u
                                         << 20;  // so much of a piece, or a quarter, and failures count from zero again
constexpr auto kSaveInterval = std::chrono::milliseconds(100);
constexpr auto kSaveIntervalPerPiece = std::chrono::microseconds(100);  // a long state is written less often

std::string state_path(const DownloadFile& file) {
  return file.partial + ".json";
}
const std::string& digest_of(const DownloadFile& file) {
  return file.sha256.empty() ? file.git_sha1 : file.sha256;
}

void discard_partial(const DownloadFile& file) {
  ::unlink(file.partial.c_str());
  ::unlink(state_path(file).c_str());
}

std::vector<PieceState> cut_into_pieces(uint64_t size, uint64_t piece_bytes) {
  const uint64_t step = std::max<uint64_t>({piece_bytes, size / kMaxPieces + 1, 1});
  std::vector<PieceState> pieces;
  for (uint64_t begin = 0; begin < size; begin += step) pieces.push_back({begin, std::min(size, begin + step), 0});
  return pieces;
}

// What an earlier attempt left, if it is of this very file.
std::optional<PartialState> load_state(const DownloadFile& file) {
  uint64_t on_disk = 0;
  if (!is_regular_file(file.partial, &on_disk) || on_disk != file.size) return std::nullopt;
  auto text = read_small_file(state_path(file), 4u << 20);
  if (!text.ok()) return std::nullopt;
  auto state = parse_partial_state(*text, state_path(file));
  if (!state.ok() || state->size != file.size || state->digest != digest_of(file)) return std::nullopt;
  return *state;
}

enum class Ranges { kUnknown, kServed, kIgnored };

struct FileTask {
  const DownloadFile* file = nullptr;
  FileHandle handle;
  PartialState state;
  std::vector<bool> busy;  // a worker is on this piece
  int workers = 0;
  Ranges ranges = Ranges::kUnknown;
  bool finished = false;
  bool discarded = false;
  std::chrono::steady_clock::time_point saved{};

  uint64_t done() const {
    uint64_t sum = 0;
    for (const PieceState& piece : state.pieces) sum += piece.done;
    return sum;
  }
  bool complete() const { return done() == state.size; }
};

// The workers' shared state. A piece's `done` is written by its worker under the lock, as is everything else.
class Downloader {
 public:
  Downloader(const DownloadJob& job, const PullOptions& options, ProgressMeter& meter)
      : job_(job), options_(options), meter_(meter) {}

  Status run() {
    for (const DownloadFile& file : job_.files) {
      tasks_.emplace_back();
      KL_RETURN_IF_ERROR(prepare(tasks_.back(), file));
    }
    uint64_t pieces = 0;
    for (const FileTask& task : tasks_) pieces += std::max<size_t>(1, task.state.pieces.size());
    const int threads =
        static_cast<int>(std::clamp<uint64_t>(pieces, 1, static_cast<uint64_t>(std::max(1, options_.connections))));
    std::vector<std::thread> workers;
    for (int i = 0; i < threads; ++i) workers.emplace_back([this] { work(); });
    for (std::thread& worker : workers) worker.join();
    for (FileTask& task : tasks_) save(task);
    return status_;
  }

 private:
  struct Pick {
    FileTask* task = nullptr;
    size_t piece = 0;
    bool verify = false;
  };

  Status prepare(FileTask& task, const DownloadFile& file) {
    task.file = &file;
    if (auto state = load_state(file)) {
      task.state = std::move(*state);
    } else {
      discard_partial(file);
      task.state = {file.name, file.size, digest_of(file), "", cut_into_pieces(file.size, options_.piece_bytes)};
    }
    task.busy.assign(task.state.pieces.size(), false);
    KL_RETURN_IF_ERROR(make_directories(parent_folder(file.target)));
    KL_RETURN_IF_ERROR(make_directories(parent_folder(file.partial)));
    KL_TRY(task.handle, open_file(file.partial, O_RDWR | O_CREAT));
    // Reserving the space now finds a full disk before the download, not near its end.
    if (file.size > 0 && ::fallocate(task.handle.get(), 0, 0, static_cast<off_t>(file.size)) != 0) {
      if (errno != EOPNOTSUPP && errno != ENOSYS) {
        const int error_number = errno;
        if (task.done() == 0) discard_partial(file);
        return io_error("cannot write", file.partial, error_number);
      }
      if (::ftruncate(task.handle.get(), static_cast<off_t>(file.size)) != 0) {
        return io_error("cannot write", file.partial, errno);
      }
    }
    return {};
  }

  void work() {
    HttpClient client;
    while (true) {
      Pick pick;
      {
        std::unique_lock lock(mutex_);
        while (!(pick = next()).task) {
          if (!status_.ok() || all_finished()) return;
          changed_.wait(lock);
        }
        ++pick.task->workers;
        if (!pick.verify) pick.task->busy[pick.piece] = true;
      }
      Status status = pick.verify ? verify(*pick.task) : fetch(client, pick);
      const std::lock_guard lock(mutex_);
      --pick.task->workers;
      if (!pick.verify && pick.piece < pick.task->busy.size()) pick.task->busy[pick.piece] = false;
      // Only the first error is told: the others follow from it.
      if (!status.ok() && status_.ok()) status_ = status;
      if (!status.ok()) stop_.store(true);
      changed_.notify_all();
    }
  }

  bool all_finished() const {
    return std::ranges::all_of(tasks_, [](const FileTask& task) { return task.finished; });
  }

  // The next thing to do, or none for now. Needs the lock.
  Pick next() {
    if (!status_.ok()) return {};
    for (FileTask& task : tasks_) {
      if (task.finished) continue;
      if (task.workers == 0 && task.complete()) return {&task, 0, true};
      // One connection finds out whether the server serves ranges before others join.
      if (task.workers > 0 && task.ranges != Ranges::kServed) continue;
      for (size_t i = 0; i < task.state.pieces.size(); ++i) {
        const PieceState& piece = task.state.pieces[i];
        if (!task.busy[i] && piece.done < piece.end - piece.begin) return {&task, i, false};
      }
    }
    return {};
  }

  Status fetch(HttpClient& client, Pick& pick) {
    RetryPolicy retry(options_, job_.help_url);
    uint64_t counted = 0;
    while (true) {
      if (is_cancelled(options_.cancel)) return cancelled_error();
      const uint64_t before = piece_done(pick);
      HttpResult result = request(client, pick);
      if (stop_.load()) return {};  // another worker failed: its error is the one to tell
      if (piece_complete(pick) || leaves_to_others(pick)) return {};
      const uint64_t after = piece_done(pick);
      counted += after > before ? after - before : 0;
      // Without ranges every try begins anew: nothing is gained for good.
      if (counted >= progress_that_counts(pick) && serves_ranges(pick)) {
        retry.progressed();
        counted = 0;
      }
      const bool answered = !result.failure && (result.head.status == 200 || result.head.status == 206);
      if (answered && result.head.status == 206 && after > before) continue;  // a shorter range than asked for
      if (answered) result.failure = HttpFailure{{ErrorCode::kNetwork, "the connection ended early"}, true, false};
      if (result.failure && result.failure->error.code == ErrorCode::kInvalid) discard(*pick.task);
      KL_RETURN_IF_ERROR(retry.wait_or_fail(result, pick.task->file->name));
    }
  }

  HttpResult request(HttpClient& client, Pick& pick) {
    HttpRequest request;
    request.url = pick.task->file->url;
    request.token = options_.token;
    request.stall_s = options_.stall_s;
    request.cancelled = [this] { return stop_.load() || is_cancelled(options_.cancel); };
    {
      const std::lock_guard lock(mutex_);
      const FileTask& task = *pick.task;
      const PieceState& piece = task.state.pieces[pick.piece];
      if (task.ranges != Ranges::kIgnored) request.range = ByteRange{piece.begin + piece.done, piece.end};
      // The first request of a resumed download asks whether the file is still the one of last time.
      const std::string& etag = task.state.etag;
      const bool resumes = task.ranges == Ranges::kUnknown && task.done() > 0;
      if (resumes && !etag.empty() && !etag.starts_with("W/")) request.if_range = etag;
    }
    HttpReceiver receiver;
    receiver.on_head = [&](const HttpHead& head) { return accept_head(pick, request, head); };
    receiver.on_data = [&](std::string_view bytes) { return accept_data(pick, bytes); };
    return client.get(request, receiver);
  }

  static Error size_error(const DownloadFile& file, const std::string& sent) {
    return {ErrorCode::kInvalid, file.name + ": wrong size: the server sends " + sent + " bytes, the hub lists " +
                                     std::to_string(file.size) + "; what had arrived was deleted"};
  }

  Status accept_head(Pick& pick, const HttpRequest& request, const HttpHead& head) {
    const std::lock_guard lock(mutex_);
    FileTask& task = *pick.task;
    const DownloadFile& file = *task.file;
    if (head.status == 206) {
      if (!request.range || !head.content_range || head.content_range->begin != request.range->begin ||
          head.content_range->end > request.range->end) {
        return Error{ErrorCode::kNetwork, "the server answers with a range that was not asked for"};
      }
      if (head.range_total && *head.range_total != file.size)
        return size_error(file, std::to_string(*head.range_total));
      if (task.ranges == Ranges::kUnknown) task.ranges = Ranges::kServed;
      task.state.etag = head.etag;
      changed_.notify_all();
      return {};
    }
    if (head.content_length && *head.content_length != file.size) {
      return size_error(file, std::to_string(*head.content_length));
    }
    // The whole file comes: ranges are ignored, or the file behind them changed. Begin again, as one piece.
    if (task.workers > 1) {
      task.ranges = Ranges::kIgnored;  // the others leave (fetch), one stays and takes the whole
      return Error{ErrorCode::kNetwork, "the server serves ranges at one time and not at another"};
    }
    const bool asked_for_part = request.range && request.range->end - request.range->begin < file.size;
    if (asked_for_part && request.if_range.empty()) task.ranges = Ranges::kIgnored;
    restart_as_one_piece(task);
    task.state.etag = head.etag;
    pick.piece = 0;
    return {};
  }

  Status accept_data(const Pick& pick, std::string_view bytes) {
    FileTask& task = *pick.task;
    const DownloadFile& file = *task.file;
    // Only this worker changes this piece; the lock is for those who sum over pieces.
    PieceState& piece = task.state.pieces[pick.piece];
    if (bytes.size() > piece.end - piece.begin - piece.done) return size_error(file, "more");
    KL_RETURN_IF_ERROR(write_at(task.handle.get(), bytes, piece.begin + piece.done, file.partial));
    const std::lock_guard lock(mutex_);
    piece.done += bytes.size();
    meter_.advance(file.name, task.done(), file.size, static_cast<int64_t>(bytes.size()));
    const auto now = std::chrono::steady_clock::now();
    if (now - task.saved > kSaveInterval + kSaveIntervalPerPiece * task.state.pieces.size()) {
      task.saved = now;
      save(task);
    }
    return {};
  }

  // Needs the lock.
  void restart_as_one_piece(FileTask& task) {
    meter_.advance(task.file->name, 0, task.file->size, -static_cast<int64_t>(task.done()));
    task.state.pieces = {{0, task.file->size, 0}};
    task.busy.assign(1, true);
  }

  // Wrong contents: nothing of them may be resumed.
  void discard(FileTask& task) {
    const std::lock_guard lock(mutex_);
    task.discarded = true;
    discard_partial(*task.file);
  }

  // So that a killed process can be resumed; losing one only costs a piece of download. Needs the lock.
  void save(const FileTask& task) {
    if (task.finished || task.discarded || task.done() == 0) return;
    (void)write_file_atomically(state_path(*task.file), format_partial_state(task.state), /*durable=*/false);
  }

  Status verify(FileTask& task) {
    const DownloadFile& file = *task.file;
    bool only_verifying = false;
    {
      const std::lock_guard lock(mutex_);
      only_verifying = std::ranges::all_of(tasks_, [](const FileTask& other) { return other.complete(); });
    }
    if (only_verifying) meter_.set_phase(PullProgress::Phase::kVerifying);
    Status status = check_digest(file, file.partial, options_, nullptr);
    if (!status.ok()) {
      if (status.error().code == ErrorCode::kInvalid) discard(task);
      return status;
    }
    KL_RETURN_IF_ERROR(rename_path(file.partial, file.target));
    ::unlink(state_path(file).c_str());
    const std::lock_guard lock(mutex_);
    task.finished = true;
    task.handle.reset();
    return {};
  }

  uint64_t piece_done(const Pick& pick) {
    const std::lock_guard lock(mutex_);
    return pick.task->state.pieces[pick.piece].done;
  }
  bool piece_complete(const Pick& pick) {
    const std::lock_guard lock(mutex_);
    const PieceState& piece = pick.task->state.pieces[pick.piece];
    return piece.done == piece.end - piece.begin;
  }
  // Without ranges a file is one worker's; the rest look for something else to do.
  bool leaves_to_others(const Pick& pick) {
    const std::lock_guard lock(mutex_);
    return pick.task->ranges == Ranges::kIgnored && pick.task->workers > 1;
  }
  uint64_t progress_that_counts(const Pick& pick) {
    const std::lock_guard lock(mutex_);
    const PieceState& piece = pick.task->state.pieces[pick.piece];
    return std::min(kProgressThatCounts, (piece.end - piece.begin) / 4 + 1);
  }
  bool serves_ranges(const Pick& pick) {
    const std::lock_guard lock(mutex_);
    return pick.task->ranges == Ranges::kServed;
  }

  const DownloadJob& job_;
  const PullOptions& options_;
  ProgressMeter& meter_;
  std::mutex mutex_;
  std::condition_variable changed_;
  std::deque<FileTask> tasks_;  // a deque: elements stay where they are
  Status status_;
  std::atomic<bool> stop_{false};
};

}  // namespace

Status download_files(const DownloadJob& job, const PullOptions& options, ProgressMeter& meter) {
  if (job.files.empty()) return {};
  return Downloader(job, options, meter).run();
}

uint64_t resumable_bytes(const DownloadFile& file) {
  uint64_t bytes = 0;
  if (auto state = load_state(file)) {
    for (const PieceState& piece : state->pieces) bytes += piece.done;
  }
  return bytes;
}

Result<std::string> fetch_document(const std::string& url, uint64_t max_bytes, const std::string& help_url,
                                   const PullOptions& options) {
  HttpClient client;
  RetryPolicy retry(options, help_url);
  while (true) {
    std::string text;
    HttpRequest request;
    request.url = url;
    request.token = options.token;
    request.stall_s = options.stall_s;
    request.cancelled = [&] { return is_cancelled(options.cancel); };
    HttpReceiver receiver;
    receiver.on_data = [&](std::string_view bytes) -> Status {
      if (bytes.size() > max_bytes - text.size()) {
        return Error{ErrorCode::kInvalid, url + ": the answer is larger than " + format_bytes(max_bytes)};
      }
      text += bytes;
      return {};
    };
    const HttpResult result = client.get(request, receiver);
    if (!result.failure && result.head.status == 200) return text;
    KL_RETURN_IF_ERROR(retry.wait_or_fail(result, help_url));
  }
}

Status check_digest(const DownloadFile& file, const std::string& path, const PullOptions& options,
                    std::string* sha256) {
  uint64_t size = 0;
  if (!is_regular_file(path, &size) || size != file.size) {
    return Error{ErrorCode::kInvalid,
                 path + ": has " + std::to_string(size) + " bytes, expected " + std::to_string(file.size)};
  }
  const bool by_sha256 = !file.sha256.empty();
  KL_TRY(const FileDigests digests, digest_file(path, options.cancel, {}, /*wants_git_sha1=*/!by_sha256));
  const std::string& found = by_sha256 ? digests.sha256 : digests.git_sha1;
  const std::string& expected = by_sha256 ? file.sha256 : file.git_sha1;
  if (found != expected) {
    return Error{ErrorCode::kInvalid, file.name + ": wrong contents: " + (by_sha256 ? "SHA-256" : "git SHA-1") +
                                          " is " + found + ", expected " + expected +
                                          "; the download was deleted, pull again"};
  }
  if (sha256 != nullptr) *sha256 = digests.sha256;
  return {};
}

}  // namespace kinglet::hub
