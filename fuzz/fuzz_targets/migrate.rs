//! Migrates the input into another dialect or byte order. What is written can be read, holds what was planned, and
//! has nothing left to migrate.
#![no_main]

use gguf_conv::gguf::{Endian, Gguf};
use gguf_conv::io::Inputs;
use gguf_conv::migrate::{self, Migration, Options};
use gguf_conv::plan::Plan;
use gguf_conv::text::escape;
use libfuzzer_sys::fuzz_target;
use models::{ARCH, TARGET};

#[path = "models.rs"]
mod models;
#[path = "scratch.rs"]
mod scratch;

fuzz_target!(|data: &[u8]| {
    let path = scratch::gguf(data);
    let Ok(gguf) = Gguf::open(&Inputs::new(), &path) else {
        return;
    };
    // The last byte chooses; it belongs to the data or the padding.
    let choice = data.last().copied().unwrap_or(0);
    let bit = |n: u8| choice >> n & 1 != 0;
    let mut options = Options::default();
    options.to = ["upstream", "atomic", "ik", "upstream"][usize::from(choice & 3)];
    options.keep_centroids = bit(2);
    options.drop_extra = bit(3);
    options.endian = if bit(4) { Endian::Big } else { Endian::Little };
    let target = bit(5).then_some(&*TARGET);
    let Ok(Migration { plan, .. }) = migrate::plan(&ARCH, &gguf, target, options) else {
        return;
    };
    let out = scratch::path("out.gguf");
    if plan.write(&out, &Inputs::new(), true, &|_| ()).is_err() {
        return;
    }
    let written = Gguf::open(&Inputs::new(), &out).unwrap();
    assert_is_planned(&written, &plan);
    let again = migrate::plan(&ARCH, &written, target, options).unwrap();
    assert!(again.changes.is_empty(), "{:?}", again.changes);
});

fn assert_is_planned(written: &Gguf, plan: &Plan) {
    assert_eq!(
        scratch::shown(written.metadata()),
        scratch::shown(plan.metadata())
    );
    let names = written.tensors().map(|info| escape(&info.name));
    assert!(names.eq(plan.tensors().iter().map(|tensor| escape(tensor.name.as_bytes()))));
    for (info, tensor) in written.tensors().zip(plan.tensors()) {
        assert_eq!(
            (&info.dims, info.ty),
            (&tensor.dims, tensor.ty.into()),
            "{}",
            info.name
        );
        let data = written.parts()[0].raw_tensor(info).unwrap().data;
        if !tensor.source.swap && tensor.source.ty == tensor.ty {
            assert!(tensor.source.data.here() == Some(data), "{}", info.name);
        }
    }
}
