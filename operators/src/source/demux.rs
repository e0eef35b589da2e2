//! Packets of one video stream of one file on disk, and of nothing else.
//!
//! A playlist is a media file to libav: a local `.m3u8` or `ffconcat` may name other files and any
//! host. Three locks keep a file to itself: it is read through an AVIO handle of the `file`
//! protocol that we opened, so that only its content decides the format; formats that open more
//! are refused by name; and what a demuxer opens all the same is denied by an empty protocol list
//! and a callback that refuses.

use std::ffi::{CStr, CString, c_char, c_int, c_void};
use std::os::unix::ffi::OsStrExt;
use std::path::{Path, PathBuf};
use std::ptr;

use engine::errors::{OperatorError, Result};
use engine::operator::Stop;
use engine::packet::{Codec, CodecConfig};
use engine::rows::Size;
use ff::ffi;
use ff::format::context::Input;
use ffmpeg_next as ff;
use flowrun_engine as engine;

use super::timeline::Clock;
use crate::decode::{init, take_complaint, with_complaint};

/// Demuxers that open other files or hosts, run scripts, or draw text as pictures.
const REFUSED_FORMATS: &[&str] = &[
    "alias_pix",
    "applehttp",
    "avisynth",
    "bin",
    "brender_pix",
    "concat",
    "dash",
    "hls",
    "idf",
    "image2",
    "imf",
    "lavfi",
    "mlv",
    "rtp",
    "rtsp",
    "sap",
    "sdp",
    "svg_pipe",
    "tty",
    "vapoursynth",
    "vobsub",
    "xbin",
];

/// How often a demuxer may ask to be called again before that counts as a failure.
const PATIENCE: u32 = 1000;
/// A picture's duration when nothing says otherwise: 25 a second.
const USUAL_NANOSECONDS: i64 = 40_000_000;
/// Where clocks may jump (MPEG-TS and PS), a longer gap is a jump. FFmpeg's own tool takes the same ten seconds.
const LONGEST_GAP_OF_JUMPING_CLOCKS: i64 = 10_000_000_000;
/// Elsewhere a recording may pause for long, but a damaged timestamp must not stop a run for years.
const LONGEST_GAP: i64 = 24 * 3_600_000_000_000;

/// What reading on gives.
pub(crate) enum Read {
    /// A packet of the video stream.
    Packet(ff::Packet),
    /// The end of the file, or of the run.
    End,
    /// The demuxer cannot go on.
    Failed(String),
}

/// Reads a video stream's packets.
pub(crate) struct Demuxer {
    // Dropped before the handle it reads through.
    input: Option<Input>,
    file: OpenFile,
    stream: usize,
}

impl Demuxer {
    /// Opens a file and finds its first video stream; the cover of a piece of music is none.
    pub fn open(path: &Path, stop: &Stop) -> Result<Self> {
        init();
        // What is still there is about something else.
        take_complaint();
        let file = OpenFile::open(path, stop)?;
        let (input, stream) = file.demux()?;
        Ok(Demuxer {
            input: Some(input),
            file,
            stream,
        })
    }

    /// Starts again from the file's first byte, through the same open file: every time the same
    /// packets come, which a seek cannot promise for open GOPs and streams that begin in one.
    pub fn rewind(&mut self) -> Result<()> {
        self.input = None;
        // SAFETY: the handle is open, and nobody reads through it now.
        let position = unsafe { ffi::avio_seek(self.file.io, 0, 0) };
        if position < 0 {
            return Err(self
                .file
                .failure("cannot be read from its start again", position as c_int));
        }
        let (input, stream) = self.file.demux()?;
        (self.input, self.stream) = (Some(input), stream);
        Ok(())
    }

    fn input(&self) -> &Input {
        self.input
            .as_ref()
            .expect("only a failed rewind leaves no input, and it ends the source")
    }

    fn video(&self) -> ff::Stream<'_> {
        self.input()
            .stream(self.stream)
            .expect("the stream was found in this input")
    }

    /// What a decoder must know.
    pub fn parameters(&self) -> ff::codec::Parameters {
        self.video().parameters()
    }

    /// What a decoder must know, where the file keeps it as ISO/IEC 14496-15 says (MP4, Matroska); with it, how many bytes
    /// the length of a NAL unit takes. None for other codecs and for byte streams, whose packets cannot be passed on as
    /// they are.
    pub fn config(&self) -> Option<(CodecConfig, usize)> {
        let parameters = self.parameters();
        let codec = match parameters.id() {
            ff::codec::Id::H264 => Codec::H264,
            ff::codec::Id::HEVC => Codec::H265,
            _ => return None,
        };
        // SAFETY: the parameters belong to the open input, which keeps them while this borrow of it lasts; libav gives
        // the length of what the pointer points at, which is checked for null.
        let (record, width, height) = unsafe {
            let raw = parameters.as_ptr();
            let length = usize::try_from((*raw).extradata_size).ok()?;
            if (*raw).extradata.is_null() || length == 0 {
                return None;
            }
            let record = std::slice::from_raw_parts((*raw).extradata, length).to_vec();
            (record, (*raw).width, (*raw).height)
        };
        let size = Size {
            width: u32::try_from(width).ok()?,
            height: u32::try_from(height).ok()?,
        };
        let (record, length_bytes) = four_byte_lengths(codec, record)?;
        let record = record.into();
        Some((CodecConfig { codec, size, record }, length_bytes))
    }

    /// The unit of the packets' timestamps.
    pub fn time_base(&self) -> ff::Rational {
        self.video().time_base()
    }

    /// What is known of the timestamps.
    pub fn clock(&self) -> Clock {
        let stream = self.video();
        // SAFETY: both pointers belong to the open input; libav writes through neither, whatever its signature says.
        let guessed = unsafe {
            let (context, stream) = (self.input().as_ptr().cast_mut(), stream.as_ptr().cast_mut());
            ff::Rational::from(ffi::av_guess_frame_rate(context, stream, ptr::null_mut()))
        };
        let nominal = [guessed, stream.avg_frame_rate()]
            .into_iter()
            .find_map(picture_nanoseconds);
        // SAFETY: the format of an open input is never null.
        let flags = unsafe { (*(*self.input().as_ptr()).iformat).flags };
        Clock {
            unit: (stream.time_base().numerator(), stream.time_base().denominator()),
            nominal: nominal.unwrap_or(USUAL_NANOSECONDS),
            longest_step: if flags & ffi::AVFMT_TS_DISCONT != 0 {
                LONGEST_GAP_OF_JUMPING_CLOCKS
            } else {
                LONGEST_GAP
            },
        }
    }

    /// The next packet of the video stream.
    pub fn read(&mut self) -> Read {
        let Some(input) = self.input.as_mut() else {
            return Read::End;
        };
        let mut waited = 0;
        loop {
            if self.file.stop.asked() {
                return Read::End;
            }
            // A new packet each time: `av_read_frame` forgets, and so would leak, what a used one holds.
            let mut packet = ff::Packet::empty();
            match packet.read(input) {
                Ok(()) if packet.stream() == self.stream => return Read::Packet(packet),
                Ok(()) => {}
                Err(ff::Error::Exit) => return Read::End,
                Err(ff::Error::Eof) => return self.file.end(),
                Err(ff::Error::Other { errno }) if errno == ff::error::EAGAIN && waited < PATIENCE => waited += 1,
                Err(error) => return Read::Failed(self.file.failure("cannot be read on", error.into()).cause),
            }
        }
    }
}

/// A decoder configuration record (version 1) that says four bytes, and how many it said (sections 5.3.3.1 and 8.3.3.1).
fn four_byte_lengths(codec: Codec, mut record: Vec<u8>) -> Option<(Vec<u8>, usize)> {
    let at = match codec {
        Codec::H264 => 4,
        Codec::H265 => 21,
    };
    if record.first() != Some(&1) {
        return None;
    }
    let field = record.get_mut(at)?;
    let length_bytes = usize::from(*field & 3) + 1;
    *field |= 3;
    Some((record, length_bytes))
}

/// The picture duration of a plausible frame rate, 0.1 to 1000 a second.
fn picture_nanoseconds(rate: ff::Rational) -> Option<i64> {
    let (numerator, denominator) = (i64::from(rate.numerator()), i64::from(rate.denominator()));
    let nanoseconds = (denominator * 1_000_000_000).checked_div(numerator)?;
    (1_000_000..=10_000_000_000)
        .contains(&nanoseconds)
        .then_some(nanoseconds)
}

/// A file open for reading.
struct OpenFile {
    path: PathBuf,
    io: *mut ffi::AVIOContext,
    /// Boxed, because libav keeps its address for the interrupt callback.
    stop: Box<Stop>,
}

// SAFETY: the handle is owned, used through `&mut Demuxer` or while opening only, and bound to no thread.
unsafe impl Send for OpenFile {}

impl Drop for OpenFile {
    fn drop(&mut self) {
        // SAFETY: owned and closed once; inputs that read through it are gone, see `Demuxer`.
        unsafe { ffi::avio_closep(&mut self.io) };
    }
}

impl OpenFile {
    fn open(path: &Path, stop: &Stop) -> Result<Self> {
        let shown = path.display();
        let metadata = std::fs::metadata(path).map_err(|error| match error.kind() {
            std::io::ErrorKind::NotFound => OperatorError::new(format!("there is no file {shown}"))
                .help("relative paths start at the graph file's folder"),
            _ => OperatorError::new(format!("{shown} cannot be read: {error}")),
        })?;
        if metadata.is_dir() {
            return Err(OperatorError::new(format!("{shown} is a folder")).help("name a file in it"));
        }
        if !metadata.is_file() {
            return Err(OperatorError::new(format!("{shown} is no regular file"))
                .help("a file source reads from disk; for a pipe or a device record it to a file first"));
        }
        if metadata.len() == 0 {
            return Err(OperatorError::new(format!("{shown} is empty")));
        }
        // The prefix keeps a path like `http:x.mp4` a path.
        let url = CString::new([b"file:", path.as_os_str().as_bytes()].concat())
            .map_err(|_| OperatorError::new(format!("{shown:?} has a zero byte in its name")))?;
        let mut file = OpenFile {
            path: path.to_owned(),
            io: ptr::null_mut(),
            stop: Box::new(stop.clone()),
        };
        let interrupt = file.interrupt();
        let mut options = Options::new([("protocol_whitelist", "file")]);
        // SAFETY: all pointers live through the call; the interrupt callback's argument lives as long as the handle.
        let opened = unsafe {
            let flags = ffi::AVIO_FLAG_READ as c_int;
            ffi::avio_open2(&mut file.io, url.as_ptr(), flags, &interrupt, &mut options.0)
        };
        if opened < 0 {
            let error = ff::Error::from(opened);
            return Err(OperatorError::new(format!("{shown} cannot be opened: {error}"))
                .help("check that the user who runs flowrun may read it"));
        }
        Ok(file)
    }

    /// Opens the format and finds the video stream; the handle stands at the file's start.
    fn demux(&self) -> Result<(Input, usize)> {
        let hint = self.hint();
        let format = self.format(&hint)?;
        let mut options = Options::new([("protocol_whitelist", "none")]);
        // SAFETY: `avformat_open_input` frees the context when it fails and `Input` closes it otherwise, neither closes
        // the handle, which is marked as ours by being set before. The callbacks' arguments outlive the context.
        let mut input = unsafe {
            let mut context = ffi::avformat_alloc_context();
            if context.is_null() {
                return Err(OperatorError::new("no memory for a demuxer"));
            }
            (*context).pb = self.io;
            (*context).interrupt_callback = self.interrupt();
            (*context).io_open = Some(refuse_to_open);
            let opened = ffi::avformat_open_input(&mut context, hint.as_ptr(), format, &mut options.0);
            if opened < 0 {
                return Err(self.failure("cannot be opened", opened));
            }
            Input::wrap(context)
        };
        // SAFETY: the context is open; no options are given.
        let found = unsafe { ffi::avformat_find_stream_info(input.as_mut_ptr(), ptr::null_mut()) };
        if found < 0 {
            return Err(self.failure("has streams that cannot be read", found));
        }
        let cover = ff::format::stream::Disposition::ATTACHED_PIC;
        let is_video = |stream: &ff::Stream<'_>| {
            stream.parameters().medium() == ff::media::Type::Video && !stream.disposition().contains(cover)
        };
        let stream = input.streams().find(is_video);
        let stream = stream.map(|stream| stream.index()).ok_or_else(|| {
            OperatorError::new(format!("{} has no video stream", self.path.display()))
                .help("`ffprobe` lists what is in it")
        })?;
        for mut other in input.streams_mut().filter(|other| other.index() != stream) {
            // SAFETY: a plain field that the demuxer reads when it makes packets.
            unsafe { (*other.as_mut_ptr()).discard = ffi::AVDiscard::AVDISCARD_ALL };
        }
        // Looking for streams decodes the beginning, which will be decoded again and complained about again.
        take_complaint();
        Ok((input, stream))
    }

    /// What the content is; the name's ending helps only where the content does not say.
    fn format(&self, hint: &CStr) -> Result<*const ffi::AVInputFormat> {
        let probe = |name: &CStr| {
            let mut format = ptr::null();
            // SAFETY: the handle is open, the name lives through the call; the handle is put back to where it was.
            let score =
                unsafe { ffi::av_probe_input_buffer2(self.io, &mut format, name.as_ptr(), ptr::null_mut(), 0, 0) };
            if score < 0 || format.is_null() {
                return Err(self.failure("is no video or picture that FFmpeg knows", score));
            }
            // SAFETY: formats are constants of the library, and all have names.
            let names = unsafe { CStr::from_ptr((*format).name) }.to_string_lossy().into_owned();
            Ok((format, names))
        };
        let (mut format, mut names) = probe(hint)?;
        if names == "image2" {
            // It reads numbered files by name; by content alone a picture gets a demuxer that reads just this one.
            (format, names) = probe(c"")?;
        }
        if names.split(',').any(|name| REFUSED_FORMATS.contains(&name)) {
            return Err(OperatorError::new(format!(
                "{} is of the format `{names}`, which may open other files or hosts",
                self.path.display()
            ))
            .help("name the media file itself"));
        }
        Ok(format)
    }

    /// A file name with the path's ending and nothing else of it.
    fn hint(&self) -> CString {
        let ending = self
            .path
            .extension()
            .and_then(|ending| ending.to_str())
            .unwrap_or_default();
        let plain = ending.len() <= 8 && ending.bytes().all(|byte| byte.is_ascii_alphanumeric());
        CString::new(if plain { format!("file.{ending}") } else { "file".into() }).expect("letters and digits only")
    }

    fn interrupt(&self) -> ffi::AVIOInterruptCB {
        ffi::AVIOInterruptCB {
            callback: Some(interrupted),
            opaque: ptr::from_ref::<Stop>(&self.stop).cast_mut().cast(),
        }
    }

    /// The end, or the I/O error that demuxers report as the end.
    fn end(&self) -> Read {
        // SAFETY: the handle is open; a plain field.
        match unsafe { (*self.io).error } {
            code if code < 0 && code != ffi::AVERROR_EOF => Read::Failed(self.failure("cannot be read on", code).cause),
            _ => Read::End,
        }
    }

    fn failure(&self, what: &str, code: c_int) -> OperatorError {
        let cause = format!("{} {what}: {}", self.path.display(), ff::Error::from(code));
        OperatorError::new(with_complaint(cause)).help("`ffprobe` says what FFmpeg makes of it")
    }
}

/// Options of libav, freed at the end; it leaves in them what it did not know.
struct Options(*mut ffi::AVDictionary);

impl Options {
    fn new<const N: usize>(pairs: [(&str, &str); N]) -> Self {
        // SAFETY: takes the dictionary over from its owner.
        Options(unsafe { ff::Dictionary::from_iter(pairs).disown() })
    }
}

impl Drop for Options {
    fn drop(&mut self) {
        // SAFETY: owned; null is allowed.
        unsafe { ffi::av_dict_free(&mut self.0) };
    }
}

/// libav asks whether to give up; it calls this from within calls that we make, on any of its threads.
unsafe extern "C" fn interrupted(opaque: *mut c_void) -> c_int {
    // SAFETY: `OpenFile::interrupt` gave the address of a boxed `Stop` that outlives the handle and the contexts; it is
    // shared and atomic inside.
    let stop = unsafe { &*opaque.cast::<Stop>() };
    c_int::from(stop.asked())
}

/// A demuxer wants to open something beside its file.
unsafe extern "C" fn refuse_to_open(
    _: *mut ffi::AVFormatContext,
    _: *mut *mut ffi::AVIOContext,
    _: *const c_char,
    _: c_int,
    _: *mut *mut ffi::AVDictionary,
) -> c_int {
    ffi::AVERROR(ff::error::EACCES)
}
