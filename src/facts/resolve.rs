//! Where each number of an architecture comes from: one resolver over whatever holds a drafter.

use super::Target;
use crate::arch::{Arch, Bounds, Formula, HparamSpec, IS_SLIDING, Number, Numbers, Origin, Pattern};
use crate::gguf::{GgufError, Value};
use serde_json::Value as Json;
use std::path::Path;

/// What can be known of a drafter. A checkpoint and a GGUF each answer what they can.
pub(crate) trait Facts<'a> {
    /// How the drafter is described.
    fn arch(&self) -> &'a Arch;

    /// Its `config.json`.
    fn config(&self) -> Option<&Json> {
        None
    }

    /// Its `generation_config.json`.
    fn generation(&self) -> Option<&Json> {
        None
    }

    /// A metadata key by upstream's name: as it is spelled, and its value.
    fn key(&self, _upstream: &str) -> Option<(String, &Value)> {
        None
    }

    /// Lengths of a tensor by its name in a checkpoint, outermost first.
    fn shape(&self, hf_name: &str) -> Option<Vec<u64>>;

    /// How many layers have this tensor of a checkpoint.
    fn count(&self, hf_name: &Pattern) -> usize;

    /// Its target.
    fn target(&self) -> Option<Target<'a>>;

    /// Whether what nothing gives may be assumed, where the architecture file allows it.
    fn may_assume(&self) -> bool {
        false
    }
}

/// What a number was taken from.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) enum Provenance {
    /// A value of the config, by JSON pointer.
    Config(String),
    /// A metadata key, as the file spells it.
    Key(String),
    /// A tensor's shape.
    Shape(String),
    /// Tensors of this name.
    Count(String),
    /// A JSON pointer into `generation_config.json`.
    Generation(String),
    /// A key or tensor of the target.
    Target(String),
    /// Numbers known already.
    Formula(String),
    /// What the library takes where a config says nothing, in words.
    Library(String),
    /// Nothing, for this reason.
    Assumed(String),
}

impl std::fmt::Display for Provenance {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        match self {
            Provenance::Config(pointer) => write!(f, "{pointer} of config.json"),
            Provenance::Generation(pointer) => write!(f, "{pointer} of generation_config.json"),
            Provenance::Key(key) => f.write_str(key),
            Provenance::Shape(name) => write!(f, "the shape of {name}"),
            Provenance::Count(name) => write!(f, "the number of {name}"),
            Provenance::Target(name) => write!(f, "{name} of the target"),
            Provenance::Formula(text) | Provenance::Library(text) => f.write_str(text),
            Provenance::Assumed(because) => write!(f, "assumed, as {because}"),
        }
    }
}

/// A number that neither config nor key states.
#[derive(Debug, Clone, PartialEq)]
pub(crate) struct Derivation {
    /// Its name in the architecture file.
    pub name: String,
    /// Its value, in words.
    pub value: String,
    pub from: Provenance,
}

/// Why a number is not known.
#[derive(Debug)]
pub(crate) enum Fault {
    /// It is stated, but of another type or outside its bounds.
    Value {
        from: Provenance,
        found: String,
        allowed: String,
    },
    /// The target's number cannot be read.
    Target(GgufError),
    /// No origin has it; where it was looked for.
    Missing { name: String, places: String },
    /// Nothing tells sliding from full layers.
    LayerKinds { why: String },
}

/// The numbers of a drafter, and how they came about.
#[derive(Debug, Default)]
pub(crate) struct Resolution {
    pub numbers: Numbers,
    /// The numbers that neither config nor key states.
    pub derived: Vec<Derivation>,
    /// What stands in the way of others, the worst first.
    pub faults: Vec<Fault>,
}

/// Works out every number of the architecture that can be.
pub(crate) fn resolve<'a>(facts: &impl Facts<'a>) -> Resolution {
    let mut resolver = Resolver {
        facts,
        arch: facts.arch(),
        found: Resolution::default(),
        undecided: None,
        is_stated_wrong: false,
    };
    resolver.read_kinds();
    resolver.read_keys();
    for spec in &resolver.arch.hparams {
        resolver.find(spec);
        if resolver.found.numbers.layers.is_empty() {
            resolver.find_kinds();
        }
    }
    if resolver.found.numbers.layers.is_empty()
        && let Some(why) = resolver.undecided
    {
        resolver.found.faults.insert(0, Fault::LayerKinds { why });
    }
    resolver.found
}

pub(super) struct Resolver<'f, 'a, F> {
    pub(super) facts: &'f F,
    pub(super) arch: &'a Arch,
    pub(super) found: Resolution,
    /// Why sliding layers cannot be told from full ones, so far.
    pub(super) undecided: Option<String>,
    /// Whether the config lists the kinds of layers, but wrongly.
    pub(super) is_stated_wrong: bool,
}

impl<'a, F: Facts<'a>> Resolver<'_, 'a, F> {
    /// Every number that a key states by itself.
    fn read_keys(&mut self) {
        let arch = self.arch;
        for spec in &arch.metadata {
            let Some((spelled, value)) = self.facts.key(&spec.key) else {
                continue;
            };
            let Some(number) = Number::from_value(value) else {
                continue;
            };
            let single = spec.value.as_ref().and_then(|value| value.as_name());
            let is_list = arch.is_list(spec);
            let name = match &number {
                Number::List(_) if !is_list => spec.by_layer.as_ref().and_then(|list| list.value.as_name()),
                _ => single,
            };
            let Some(name) = name.filter(|name| *name != IS_SLIDING) else {
                continue;
            };
            match number {
                Number::List(items) if !is_list => {
                    let bounds = arch.by_layer_bounds(name);
                    let admit = |item| {
                        bounds
                            .as_ref()
                            .map_or_else(|| Some(Number::clone(item)), |b| b.admit(item.clone()))
                    };
                    match items.iter().map(admit).collect::<Option<Vec<_>>>() {
                        Some(items) => self.found.numbers.set_by_layer(name, items),
                        None => self.outside(Provenance::Key(spelled), &Number::List(items), bounds.as_ref()),
                    }
                }
                one if !self.found.numbers.has(name) => {
                    let bounds = arch.hparam(name).map(HparamSpec::bounds);
                    if let Some(one) = self.admitted(one, bounds, || Provenance::Key(spelled)) {
                        self.found.numbers.set(name, one);
                    }
                }
                _ => {}
            }
        }
    }

    /// The number where it is allowed, else a fault.
    fn admitted(
        &mut self,
        number: Number,
        bounds: Option<Bounds>,
        from: impl FnOnce() -> Provenance,
    ) -> Option<Number> {
        let Some(bounds) = bounds else { return Some(number) };
        let admitted = bounds.admit(number.clone());
        if admitted.is_none() {
            self.outside(from(), &number, Some(&bounds));
        }
        admitted
    }

    fn outside(&mut self, from: Provenance, found: &Number, bounds: Option<&Bounds>) {
        self.found.faults.push(Fault::Value {
            from,
            found: found.to_string(),
            allowed: bounds.map(Bounds::to_string).unwrap_or_default(),
        });
    }

    /// Works a number out that no key states: the first origin that has it wins, whether it is allowed or not.
    fn find(&mut self, spec: &HparamSpec) {
        if self.found.numbers.has(&spec.name) {
            return;
        }
        let faults = self.found.faults.len();
        for origin in &spec.from {
            let found = self.number_at(origin);
            if self.found.faults.len() > faults {
                return;
            }
            if let Some((number, from)) = found {
                let bounds = Some(spec.bounds());
                if let Some(number) = self.admitted(number, bounds, || from.clone())
                    && self.is_within(spec, &number, &from)
                {
                    self.set(&spec.name, number, from);
                    self.set_in_last(spec);
                }
                return;
            }
        }
        let mut assumptions = self.arch.assumptions.iter();
        let assumption = assumptions.find(|assumption| assumption.number == spec.name);
        if let Some(assumption) = assumption.filter(|_| self.facts.may_assume())
            && let Ok(number) = self.found.numbers.eval(&assumption.formula, None)
            && let Some(number) = spec.bounds().admit(number)
        {
            self.set(
                &spec.name,
                number,
                Provenance::Assumed(assumption.because.clone()),
            );
        } else if !spec.optional {
            let places = spec.from.iter().filter_map(|origin| self.place(origin));
            let fault = Fault::Missing {
                name: spec.name.clone(),
                places: places.collect::<Vec<_>>().join(", "),
            };
            self.found.faults.push(fault);
        }
    }

    /// Gives the last layers a number of their own, where the architecture says so.
    fn set_in_last(&mut self, spec: &HparamSpec) {
        let numbers = &mut self.found.numbers;
        let Some(last) = spec
            .in_last
            .as_ref()
            .filter(|last| numbers.applies(last.when.as_deref()))
        else {
            return;
        };
        let (usual, other) = (numbers.get(&spec.name, None), numbers.eval(&last.value, None));
        let (count, those) = (numbers.count("layers"), numbers.count(&last.layers));
        if let (Some(usual), Ok(other), Some(count), Some(those)) = (usual, other, count, those) {
            let value = |layer| if layer + those < count { &usual } else { &other };
            let values = (0..count).map(|layer| value(layer).clone()).collect();
            numbers.set_by_layer(&spec.name, values);
        }
    }

    /// Whether a number keeps to the other numbers that it must not exceed; a fault where it does not.
    fn is_within(&mut self, spec: &HparamSpec, number: &Number, from: &Provenance) -> bool {
        type Holds = fn(f64, f64) -> bool;
        let limits: [(&Option<String>, &str, Holds); 2] = [
            (&spec.below, "below", |value, limit| value < limit),
            (&spec.within, "at most", |value, limit| value <= limit),
        ];
        for (name, word, holds) in limits {
            let Some(name) = name else { continue };
            let Some(limit) = self.found.numbers.get(name, None) else {
                continue;
            };
            let both = number.as_f64().zip(limit.as_f64());
            if !both.is_some_and(|(value, limit)| holds(value, limit)) {
                self.found.faults.push(Fault::Value {
                    from: from.clone(),
                    found: number.to_string(),
                    allowed: format!("{word} {limit} ({name})"),
                });
                return false;
            }
        }
        true
    }

    fn set(&mut self, name: &str, number: Number, from: Provenance) {
        if !matches!(from, Provenance::Config(_) | Provenance::Generation(_)) {
            self.found.derived.push(Derivation {
                name: name.to_owned(),
                value: number.to_string(),
                from,
            });
        }
        self.found.numbers.set(name, number);
    }

    /// What an origin has to say; a fault where that cannot be read.
    fn number_at(&mut self, origin: &Origin) -> Option<(Number, Provenance)> {
        let is_off =
            |when: &Option<String>| when.as_ref().is_some_and(|name| !self.found.numbers.is_set(name));
        match origin {
            Origin::Config { when, .. } | Origin::Generation { when, .. } | Origin::Formula { when, .. }
                if is_off(when) =>
            {
                None
            }
            Origin::Config { .. } => self.config_number(origin),
            Origin::Generation { generation, .. } => {
                let json = self.facts.generation()?.pointer(generation);
                let json = json.filter(|json| !json.is_null())?;
                self.json_number(
                    json,
                    Bounds::default(),
                    Provenance::Generation(generation.clone()),
                )
            }
            Origin::Axis {
                axis_of,
                axis,
                divide,
            } => {
                let name = self.found.numbers.fill_layer(axis_of);
                let len = Number::from(*self.facts.shape(&name)?.get(*axis)?);
                let len = match divide {
                    None => len,
                    Some(formula) => len.over(&self.found.numbers.eval(formula, None).ok()?)?,
                };
                Some((len, Provenance::Shape(name)))
            }
            Origin::Has { has: name } | Origin::Lacks { lacks: name } => {
                let is_there = self.facts.count(name) > 0;
                let is_so = is_there == matches!(origin, Origin::Has { .. });
                Some((Number::Bool(is_so), Provenance::Formula(name.to_string())))
            }
            Origin::Len { len_of } => match self.found.numbers.get(len_of, None)? {
                Number::List(items) => {
                    let from = Provenance::Formula(len_of.clone());
                    Some((Number::from(items.len() as u64), from))
                }
                _ => None,
            },
            Origin::Differ { differ } => {
                let [a, b] = differ.each_ref().map(|name| self.found.numbers.get(name, None));
                let from = Provenance::Formula(differ.join(" and "));
                Some((Number::Bool(a? != b?), from))
            }
            Origin::List { list } => {
                let items = list.iter().map(|item| self.found.numbers.eval(item, None).ok());
                let items = items.collect::<Option<Vec<Number>>>()?;
                let words: Vec<String> = list.iter().map(Formula::to_string).collect();
                Some((Number::List(items), Provenance::Formula(words.join(", "))))
            }
            Origin::Layers { layers_of } => {
                let count = self.facts.count(layers_of);
                let from = Provenance::Count(layers_of.to_string());
                (count > 0).then(|| (Number::from(count as u64), from))
            }
            Origin::Target { target: name, .. }
            | Origin::TargetLen { target_len: name }
            | Origin::TargetOnes { target_ones: name } => match self.facts.target()?.origin(origin) {
                Ok(number) => Some((number?, Provenance::Target(name.clone()))),
                Err(error) => {
                    self.found.faults.push(Fault::Target(error));
                    None
                }
            },
            Origin::Formula { formula, .. } => {
                let number = self.found.numbers.eval(formula, None).ok()?;
                Some((number, Provenance::Formula(formula.to_string())))
            }
        }
    }

    fn config_number(&mut self, origin: &Origin) -> Option<(Number, Provenance)> {
        let Origin::Config {
            config,
            is,
            is_there,
            min,
            max,
            times,
            floor,
            ..
        } = origin
        else {
            return None;
        };
        let pointer = self.found.numbers.fill_layer(config);
        let json = self.facts.config()?.pointer(&pointer)?;
        if json.is_null() {
            return None;
        }
        let bounds = Bounds {
            min: min.clone(),
            max: max.clone(),
            ..Bounds::default()
        };
        let from = Provenance::Config(pointer);
        if let Some(is) = is {
            return Some((Number::Bool(json == is), from));
        }
        if *is_there {
            return Some((Number::Bool(true), from));
        }
        let (mut number, from) = self.json_number(json, bounds, from)?;
        if let Some(times) = times {
            number = number.times(&self.found.numbers.eval(times, None).ok()?)?;
        }
        if *floor {
            number = number.floor();
        }
        Some((number, from))
    }

    /// What a file says as a number, within its bounds; a fault where it is none.
    fn json_number(&mut self, json: &Json, bounds: Bounds, from: Provenance) -> Option<(Number, Provenance)> {
        let Some(number) = Number::from_json(json) else {
            self.found.faults.push(Fault::Value {
                from,
                found: json.to_string(),
                allowed: bounds.to_string(),
            });
            return None;
        };
        let number = self.admitted(number, Some(bounds), || from.clone())?;
        Some((number, from))
    }

    /// Where an origin looks, for the error that nothing was found. A formula looks nowhere.
    fn place(&self, origin: &Origin) -> Option<String> {
        let fill = |name: &str| self.found.numbers.fill_layer(name);
        Some(
            match origin {
                Origin::Config { config, .. } => Provenance::Config(fill(config)),
                Origin::Generation { generation, .. } => Provenance::Generation(generation.clone()),
                Origin::Axis { axis_of, .. } => Provenance::Shape(fill(axis_of)),
                Origin::Layers { layers_of } => Provenance::Count(layers_of.to_string()),
                Origin::Target { target: name, .. }
                | Origin::TargetLen { target_len: name }
                | Origin::TargetOnes { target_ones: name } => Provenance::Target(name.clone()),
                Origin::Formula { .. }
                | Origin::Has { .. }
                | Origin::Lacks { .. }
                | Origin::Len { .. }
                | Origin::Differ { .. }
                | Origin::List { .. } => return None,
            }
            .to_string(),
        )
    }
}

/// The file that a number was taken from.
pub(crate) fn file_of<'p>(from: &Provenance, drafter: &'p Path, target: Option<Target<'p>>) -> &'p Path {
    match (from, target) {
        (Provenance::Target(_), Some(target)) => target.gguf.path(),
        _ => drafter,
    }
}
