//! What of the machine a graph can touch: files by their paths, secrets by the variables that hold them.
//!
//! A graph that comes over the network is somebody else's text. A server that runs a graph lets it be edited within
//! what that graph already touches, and refuses what names more: otherwise an edit could read any file and any
//! variable that the process can. URLs are not part of it.

use std::collections::BTreeMap;
use std::fmt;
use std::io;
use std::path::{Component, Path, PathBuf};

use super::Plan;
use crate::graph::server::ServerParams;
use crate::params::{ParamType, ParamValues, Params, ParamsSchema};
use crate::port::{Catalogue, Role};
use crate::source::SourceFile;
use crate::system::System;
use crate::value::Value;

/// All paths and environment variables that a graph names.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Reach {
    /// With the graph's folder before them, as they are opened; and who names them.
    paths: BTreeMap<PathBuf, Touch>,
    variables: BTreeMap<String, Touch>,
}

/// Something that a graph touches, and by which of its parts.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Touch {
    /// What it is.
    pub what: Touched,
    /// As the graph writes it.
    pub name: String,
    /// The part and its parameter: "`path` of camera `north`".
    pub by: String,
}

/// Kinds of what graphs touch.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Touched {
    /// A file or folder, to read or to write.
    Path,
    /// An environment variable.
    Variable,
}

impl fmt::Display for Touch {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let what = match self.what {
            Touched::Path => "the path",
            Touched::Variable => "the environment variable",
        };
        write!(f, "{what} `{}` ({})", self.name, self.by)
    }
}

impl Reach {
    /// Of a plan, and of the text that it was made from with all that this includes.
    pub fn of(plan: &Plan, source: &SourceFile, catalogue: &dyn Catalogue) -> Self {
        let mut reach = Reach::default();
        let folder = Path::new(source.name()).parent().unwrap_or(Path::new(""));
        for name in source.included_names() {
            let path = Path::new(name).strip_prefix(folder).unwrap_or(Path::new(name));
            reach.path(&plan.root, &path.to_string_lossy(), "an `include`".into());
        }
        for camera in &plan.cameras {
            let owner = format!("camera `{}`", camera.name);
            let schema = catalogue.find(Role::Source, &camera.kind).map(|spec| &spec.params);
            reach.params(&plan.root, schema, &camera.params, &owner, is_path);
            reach.params(
                &plan.root,
                Some(catalogue.camera_params()),
                &camera.common,
                &owner,
                is_path,
            );
        }
        for (name, model) in &plan.models {
            let owner = format!("model `{name}`");
            let path = model.path.to_string_lossy();
            reach.path(&plan.root, &path, format!("the file of {owner}"));
            reach.params(
                &plan.root,
                Some(catalogue.model_params()),
                &model.params,
                &owner,
                is_path,
            );
        }
        for node in &plan.nodes {
            let owner = format!("`{}`", node.name);
            let schema = catalogue.find(node.role, &node.kind).map(|spec| &spec.params);
            // Where a sink of files takes a template, its places are filled in and the result is a file.
            let template = |ty: &ParamType| is_path(ty) || *ty == ParamType::Template;
            let files: fn(&ParamType) -> bool = if node.role == Role::Write { template } else { is_path };
            for values in std::iter::once(&node.params).chain(node.overrides.values()) {
                reach.params(&plan.root, schema, values, &owner, files);
            }
        }
        if let Some(server) = &plan.server {
            reach.params(&plan.root, Some(&ServerParams::schema()), server, "the server", is_path);
        }
        reach
    }

    /// What this touches and `running` does not, in the order of names.
    pub fn beyond(&self, running: &Reach) -> Vec<Touch> {
        let paths = self.paths.iter().filter(|(path, _)| !running.paths.contains_key(*path));
        let variables = self
            .variables
            .iter()
            .filter(|(name, _)| !running.variables.contains_key(*name));
        let paths = paths.map(|(_, touch)| touch);
        paths.chain(variables.map(|(_, touch)| touch)).cloned().collect()
    }

    /// The world as a graph may see it that must stay within this: other files are not read, also not to be included,
    /// and whether they are there is not told. What it names beyond is for [`beyond`](Self::beyond) to find.
    pub fn within<'s>(&'s self, system: &'s dyn System) -> Within<'s> {
        Within { reach: self, system }
    }

    fn path(&mut self, root: &Path, written: &str, by: String) {
        let touch = Touch {
            what: Touched::Path,
            name: written.to_owned(),
            by,
        };
        self.paths.entry(plain(&root.join(written))).or_insert(touch);
    }

    /// Takes what the parameters name; a value whose parameter no schema knows is taken for a path, since it may be one.
    fn params(
        &mut self,
        root: &Path,
        schema: Option<&ParamsSchema>,
        values: &ParamValues,
        owner: &str,
        is_path: fn(&ParamType) -> bool,
    ) {
        for (name, value) in values {
            let ty = schema.and_then(|schema| schema.get(name)).map(|spec| &spec.ty);
            let is_path = ty.is_none_or(is_path);
            self.value(root, value, is_path, &format!("`{name}` of {owner}"));
        }
    }

    fn value(&mut self, root: &Path, value: &Value, is_path: bool, by: &str) {
        match value {
            Value::Text(written) if is_path => self.path(root, written, by.to_owned()),
            Value::Secret(name) => {
                let touch = Touch {
                    what: Touched::Variable,
                    name: name.clone(),
                    by: by.to_owned(),
                };
                self.variables.entry(name.clone()).or_insert(touch);
            }
            Value::List(values) => values.iter().for_each(|value| self.value(root, value, is_path, by)),
            _ => {}
        }
    }
}

fn is_path(ty: &ParamType) -> bool {
    match ty {
        ParamType::Path => true,
        ParamType::List(item) => is_path(item),
        _ => false,
    }
}

/// Without `.`; a `..` stays, since what it leads to is the file system's to say.
fn plain(path: &Path) -> PathBuf {
    path.components().filter(|part| *part != Component::CurDir).collect()
}

/// A system of which only what a [`Reach`] names is seen.
#[derive(Clone, Copy)]
pub struct Within<'s> {
    reach: &'s Reach,
    system: &'s dyn System,
}

impl Within<'_> {
    fn is_named(&self, path: &Path) -> bool {
        self.reach.paths.contains_key(&plain(path))
    }
}

impl System for Within<'_> {
    fn exists(&self, path: &Path) -> bool {
        !self.is_named(path) || self.system.exists(path)
    }

    fn allows(&self, path: &Path) -> bool {
        !self.is_named(path) || self.system.allows(path)
    }

    fn read(&self, path: &Path, at_most: usize) -> io::Result<Vec<u8>> {
        if !self.is_named(path) {
            return Err(io::Error::new(
                io::ErrorKind::PermissionDenied,
                "the graph that runs does not include it",
            ));
        }
        self.system.read(path, at_most)
    }
}
