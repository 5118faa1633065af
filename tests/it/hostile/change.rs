//! Changes to files that no program would make, the same ones for the same seed.

use crate::common::parts::{PartTensor, Parts};
use gguf_conv::gguf::{Array, Layout, Metadata, Strings, TensorSpec, Value};
use serde_json::json;

/// Numbers without a pattern (SplitMix64).
pub struct Rng(pub u64);

impl Rng {
    pub fn next(&mut self) -> u64 {
        self.0 = self.0.wrapping_add(0x9e37_79b9_7f4a_7c15);
        let z = (self.0 ^ (self.0 >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
        let z = (z ^ (z >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
        z ^ (z >> 31)
    }

    /// A number below `end`, which is not 0.
    pub fn below(&mut self, end: usize) -> usize {
        (self.next() % end as u64) as usize
    }

    pub fn pick<'a, T>(&mut self, list: &'a [T]) -> &'a T {
        &list[self.below(list.len())]
    }

    pub fn word(&mut self, list: &[&'static str]) -> &'static str {
        list[self.below(list.len())]
    }

    /// Whether something happens that does once in `times`.
    pub fn once_in(&mut self, times: usize) -> bool {
        self.below(times) == 0
    }

    /// A place in a text or header, more often near its beginning and its end, where the counts and the last records stand.
    fn place(&mut self, len: usize) -> usize {
        let near = len.clamp(1, 600);
        match self.below(3) {
            0 => self.below(near),
            1 => len.saturating_sub(1 + self.below(near)),
            _ => self.below(len.max(1)),
        }
    }
}

/// Texts that drive terminals, end lines, break quotes, leave folders, or are far too long.
pub fn text(rng: &mut Rng) -> String {
    let texts = [
        "",
        " ",
        "\u{1b}[2J\u{1b}]0;title\u{7}",
        "two\nlines\r\n",
        "it's \"quoted\" $(id) `id` ; rm -rf",
        "../../../../etc/passwd",
        "\u{202e}gnp.exe\u{200b}\u{feff}",
        "nul\0nul",
        "%s%n{}{0}",
        "-1",
        "nan",
        "日本語のとても長い名前",
        "blk.99999999999999999999.attn_q.weight",
    ];
    match rng.below(8) {
        0 => "x".repeat(100_000),
        1 => "\u{1b}[31m\n".repeat(5_000),
        _ => (*rng.pick(&texts)).to_owned(),
    }
}

const WORDS: [u64; 14] = [
    0,
    1,
    2,
    31,
    0x7f,
    0xff,
    0xffff,
    0x7fff_ffff,
    0x8000_0000,
    0xffff_ffff,
    0x7fc0_0000,
    1 << 40,
    i64::MAX as u64,
    u64::MAX,
];

/// Changes bytes; `header` of them in front are more than data.
pub fn bytes(rng: &mut Rng, bytes: &mut Vec<u8>, header: usize) -> String {
    let header = header.min(bytes.len()).max(1);
    if bytes.is_empty() {
        return "nothing".to_owned();
    }
    match rng.below(8) {
        0 | 1 => {
            let len = if rng.once_in(4) {
                rng.below(bytes.len())
            } else {
                rng.place(header)
            };
            bytes.truncate(len);
            format!("cut after {len} bytes")
        }
        2 | 3 => {
            let mut told = "flipped".to_owned();
            for _ in 0..=rng.below(4) {
                let (at, bit) = (rng.place(header), rng.below(8));
                bytes[at] ^= 1 << bit;
                told += &format!(" bit {bit} at {at}");
            }
            told
        }
        4 | 5 => {
            let (at, word) = (rng.place(header), *rng.pick(&WORDS));
            let len = *rng.pick(&[1, 2, 4, 8]);
            let len = len.min(bytes.len() - at);
            bytes[at..at + len].copy_from_slice(&word.to_le_bytes()[..len]);
            format!("{word:#x} in {len} bytes at {at}")
        }
        6 => {
            let (at, count) = (rng.place(header), 1 + rng.below(64));
            let end = (at + count).min(bytes.len());
            bytes.drain(at..end);
            format!("bytes {at}..{end} removed")
        }
        _ => {
            let (at, count) = (rng.place(header), 1 + rng.below(64));
            let byte = *rng.pick(&[0, b' ', b'0', b'[', 0x1b, 0xff]);
            bytes.splice(at..at, std::iter::repeat_n(byte, count));
            format!("{count} times {byte:#x} put in at {at}")
        }
    }
}

/// Bytes of numbers that are none, of zeros, or of anything.
fn numbers(rng: &mut Rng, data: &mut [u8]) -> &'static str {
    if data.is_empty() {
        return "no data";
    }
    match rng.below(5) {
        0 => {
            let at = rng.below(data.len()) & !3;
            let end = (at + 4).min(data.len());
            data[at..end].fill(0xff);
            "one NaN"
        }
        1 => {
            // Infinite as f32, bf16 and nearly so as f16.
            for pair in data.chunks_exact_mut(2) {
                pair.copy_from_slice(&[0x80, 0x7f]);
            }
            "infinities"
        }
        2 => {
            data.fill(0);
            "zeros"
        }
        3 => {
            // 1.7e38 as bf16 and in every f32.
            for pair in data.chunks_exact_mut(2) {
                pair.copy_from_slice(&[0x00, 0x7f]);
            }
            "numbers of 1.7e38"
        }
        _ => {
            data.iter_mut().for_each(|byte| *byte = rng.next() as u8);
            "noise"
        }
    }
}

fn value(rng: &mut Rng) -> Value {
    match rng.below(16) {
        0 => 0_u32.into(),
        1 => u32::MAX.into(),
        2 => 1_u32.into(),
        3 => (-1_i32).into(),
        4 => u64::MAX.into(),
        5 => f32::NAN.into(),
        6 => f32::INFINITY.into(),
        7 => (-1.0_f32).into(),
        8 => 1e30_f32.into(),
        9 => true.into(),
        10 => Array::F32(vec![f32::NAN; 3]).into(),
        11 => Array::U32(vec![u32::MAX; 100_000]).into(),
        12 => Array::Array(vec![Array::Bool(vec![true])]).into(),
        13 => Value::Array(Array::String(Strings::with_capacity(0))),
        _ => text(rng).as_str().into(),
    }
}

/// Lays parts out; `None` where they cannot be, as with a name that stands twice.
fn lay(parts: &Parts) -> Option<Vec<u8>> {
    let mut metadata = Metadata::default();
    for (key, value) in &parts.metadata {
        metadata.set(key.as_str(), value.clone());
    }
    let spec = |(name, dims, ty, data): &PartTensor| TensorSpec {
        name: name.as_str().into(),
        dims: dims.clone(),
        ty: (*ty).into(),
        size: data.len() as u64,
    };
    let specs: Vec<TensorSpec> = parts.tensors.iter().map(spec).collect();
    let layout = Layout::new(&metadata, &specs).ok()?;
    let mut bytes = layout.header;
    for ((.., data), offset) in parts.tensors.iter().zip(&layout.offsets) {
        bytes.resize(*offset as usize, 0);
        bytes.extend(data);
    }
    bytes.resize(layout.file_len as usize, 0);
    Some(bytes)
}

/// A GGUF with one thing changed: bytes of its header, or a key or tensor in a file that is whole otherwise.
pub fn gguf(rng: &mut Rng, source: &Source) -> (String, Vec<u8>) {
    let mut changed = source.bytes.clone();
    if rng.once_in(2) {
        let told = bytes(rng, &mut changed, source.header);
        return (told, changed);
    }
    let mut parts = Parts {
        metadata: source.parts.metadata.clone(),
        tensors: source.parts.tensors.clone(),
    };
    let key = rng.below(parts.metadata.len());
    let tensor = rng.below(parts.tensors.len());
    let told = match rng.below(12) {
        0..=4 => {
            let (name, old) = &mut parts.metadata[key];
            *old = value(rng);
            format!("{name} of type {}", old.type_name())
        }
        5 => {
            let (name, _) = parts.metadata.remove(key);
            format!("without {name}")
        }
        6 => {
            let name = text(rng);
            parts.metadata.push((name, value(rng)));
            "a strange key".to_owned()
        }
        7 => {
            parts.tensors[tensor].0 = text(rng);
            "a tensor renamed".to_owned()
        }
        8 => {
            let (name, dims, ..) = &mut parts.tensors[tensor];
            match rng.below(3) {
                0 => dims.reverse(),
                1 => *dims = vec![dims.iter().product()],
                _ => dims.push(1),
            }
            format!("{name} of shape {dims:?}")
        }
        9 => {
            let (name, ..) = parts.tensors.remove(tensor);
            format!("without {name}")
        }
        _ => {
            let (name, _, _, data) = &mut parts.tensors[tensor];
            format!("{name} of {}", numbers(rng, data))
        }
    };
    match lay(&parts) {
        Some(bytes) => (told, bytes),
        None => (bytes(rng, &mut changed, source.header), changed),
    }
}

/// A GGUF to be changed, whole and in pieces.
pub struct Source {
    pub bytes: Vec<u8>,
    pub parts: Parts,
    /// Length of what stands in front of the data.
    pub header: usize,
}

impl Source {
    pub fn new(bytes: Vec<u8>) -> Source {
        let parts = crate::common::parts::parts_of(&bytes);
        let data: usize = parts
            .tensors
            .iter()
            .map(|(.., data)| data.len().next_multiple_of(32))
            .sum();
        let header = bytes.len().saturating_sub(data);
        Source { bytes, parts, header }
    }
}

fn json_value(rng: &mut Rng) -> serde_json::Value {
    match rng.below(20) {
        0 => json!(-1),
        1 => json!(0),
        2 => json!(-5),
        3 => json!(1e12),
        4 => json!(1e300),
        5 => json!(3.7),
        6 => json!(131_072.5),
        7 => json!(u64::MAX),
        8 => json!(i64::MIN),
        9 => json!(null),
        10 => json!(true),
        11 => json!([]),
        12 => json!({}),
        13 => json!(vec![1; 100_000]),
        14 => json!([[["deep"]]]),
        15 => json!({ "0": { "head_dim": -1 } }),
        _ => json!(text(rng)),
    }
}

/// Changes one value, name or entry somewhere in a document.
pub fn json(rng: &mut Rng, document: &mut serde_json::Value) -> String {
    let step = |rng: &mut Rng, len: usize| (len > 0 && !rng.once_in(6)).then(|| rng.below(len.max(1)));
    match document {
        serde_json::Value::Object(map) => {
            let Some(at) = step(rng, map.len()) else {
                map.insert(text(rng), json_value(rng));
                return "a strange field".to_owned();
            };
            let name = map.keys().nth(at).cloned().unwrap_or_default();
            match rng.below(8) {
                0 => {
                    map.remove(&name);
                    format!("without {name}")
                }
                1 => {
                    let value = map.remove(&name).unwrap_or_default();
                    map.insert(text(rng), value);
                    format!("{name} renamed")
                }
                _ => format!("{name}: {}", json(rng, &mut map[&name])),
            }
        }
        serde_json::Value::Array(list) => match step(rng, list.len()) {
            Some(at) => format!("[{at}]: {}", json(rng, &mut list[at])),
            None if rng.once_in(2) => {
                list.truncate(list.len() / 2);
                "half a list".to_owned()
            }
            None => {
                list.push(json_value(rng));
                "an entry more".to_owned()
            }
        },
        value => {
            *value = json_value(rng);
            value.to_string().chars().take(40).collect()
        }
    }
}

/// A JSON file with one thing changed.
pub fn json_file(rng: &mut Rng, source: &[u8]) -> (String, Vec<u8>) {
    match rng.below(12) {
        0 | 1 => {
            let mut changed = source.to_vec();
            (bytes(rng, &mut changed, source.len()), changed)
        }
        2 => {
            // A field that stands twice, unlike.
            let text = String::from_utf8_lossy(source);
            let name = text.split('"').nth(1).unwrap_or_default();
            let twice = text.replacen('{', &format!("{{\"{name}\": {},", json_value(rng)), 1);
            (format!("{name} twice"), twice.into_bytes())
        }
        3 => match rng.below(3) {
            0 => ("very deep".to_owned(), b"[".repeat(100_000)),
            1 => ("byte order mark".to_owned(), [b"\xef\xbb\xbf", source].concat()),
            _ => ("empty".to_owned(), Vec::new()),
        },
        _ => {
            let mut document = serde_json::from_slice(source).unwrap();
            let told = json(rng, &mut document);
            (told, document.to_string().into_bytes())
        }
    }
}

/// A safetensors file with one thing changed.
pub fn safetensors(rng: &mut Rng, source: &[u8]) -> (String, Vec<u8>) {
    let len = u64::from_le_bytes(source[..8].try_into().unwrap()) as usize;
    let (mut header, mut data) = (source[8..8 + len].to_vec(), source[8 + len..].to_vec());
    let told = match rng.below(10) {
        0 | 1 => {
            let mut changed = source.to_vec();
            let told = bytes(rng, &mut changed, 8 + len);
            return (told, changed);
        }
        2 => {
            let mut document: serde_json::Value = serde_json::from_slice(&header).unwrap();
            let tensors = document.as_object_mut().unwrap();
            let at = rng.below(tensors.len());
            let (name, tensor) = tensors.iter_mut().nth(at).unwrap();
            let name = name.clone();
            if tensor.get("shape").is_some() {
                tensor["shape"] = json!(vec![1; 100_000]);
            }
            header = document.to_string().into_bytes();
            format!("{name} of 100000 dimensions")
        }
        3 | 4 => {
            // Whole rows are too much to go wrong at; a piece of a tensor is enough.
            let at = rng.below(data.len());
            let end = (at + 2 * (1 + rng.below(400))).min(data.len());
            format!(
                "{} from byte {at} of the data on",
                numbers(rng, &mut data[at & !1..end])
            )
        }
        _ => {
            let (told, changed) = json_file(rng, &header);
            header = changed;
            told
        }
    };
    let len = (header.len() as u64).to_le_bytes();
    (told, [&len[..], &header, &data].concat())
}

/// A text of lines with one thing changed.
pub fn lines(rng: &mut Rng, source: &str) -> (String, Vec<u8>) {
    let mut lines: Vec<String> = source.lines().map(str::to_owned).collect();
    let at = rng.below(lines.len());
    let told = match rng.below(8) {
        0 => {
            let mut changed = source.as_bytes().to_vec();
            return (bytes(rng, &mut changed, source.len()), changed);
        }
        1 => format!("without the line {:?}", lines.remove(at)),
        2 => {
            let line = lines[at].clone();
            lines.insert(at, line);
            format!("line {at} twice")
        }
        3 => {
            lines[at] = text(rng);
            format!("another line {at}")
        }
        4 => {
            let quoted = lines[at].splitn(3, '"').map(str::to_owned).collect::<Vec<_>>();
            if let [before, _, after] = quoted.as_slice() {
                let other = json!(text(rng));
                lines[at] = format!("{before}{other}{after}");
            }
            format!("another text in line {at}")
        }
        5 => {
            let is_digit = |c: char| c.is_ascii_digit();
            if let Some(digit) = lines[at].find(is_digit) {
                let end = lines[at][digit..]
                    .find(|c| !is_digit(c))
                    .map_or(lines[at].len(), |n| digit + n);
                let number = *rng.pick(&[
                    "-1",
                    "0",
                    "1e300",
                    "nan",
                    "99999999999999999999",
                    "4294967295",
                    "3.7",
                ]);
                lines[at].replace_range(digit..end, number);
            }
            format!("another number in line {at}")
        }
        6 => {
            let other = rng.below(lines.len());
            lines.swap(at, other);
            format!("lines {at} and {other} exchanged")
        }
        _ => {
            let word: String = lines[at].chars().take(1 + rng.below(12)).collect();
            lines[at] = format!("{word}x{}", &lines[at][word.len()..]);
            format!("a letter more in line {at}")
        }
    };
    (told, lines.join("\n").into_bytes())
}
