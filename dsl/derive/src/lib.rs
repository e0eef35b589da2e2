//! `#[derive(Params)]`, `#[derive(Choice)]` and `#[derive(Row)]`.
//!
//! Doc comments become the parameter reference, so a field without one does not compile.

use proc_macro::TokenStream;
use proc_macro_crate::{FoundCrate, crate_name};
use proc_macro2::{Span, TokenStream as Tokens};
use quote::quote;
use syn::{Data, DeriveInput, Error, Fields, Ident, LitStr, Result, parse_macro_input};

mod choice;
mod params;
mod row;

/// Declares a struct of parameters.
///
/// On fields: `#[param(positional)]`, `live` or `reset`, `default = "text"`, `min = 0.0`, `max = 1.0`, `name = "other"`.
#[proc_macro_derive(Params, attributes(param))]
pub fn derive_params(input: TokenStream) -> TokenStream {
    expand(parse_macro_input!(input as DeriveInput), params::expand)
}

/// Makes a field-less enum a parameter whose values are its variants in kebab case.
#[proc_macro_derive(Choice)]
pub fn derive_choice(input: TokenStream) -> TokenStream {
    expand(parse_macro_input!(input as DeriveInput), choice::expand)
}

/// Makes a struct a row type that travels as a table.
#[proc_macro_derive(Row)]
pub fn derive_row(input: TokenStream) -> TokenStream {
    expand(parse_macro_input!(input as DeriveInput), row::expand)
}

fn expand(input: DeriveInput, with: fn(&DeriveInput) -> Result<Tokens>) -> TokenStream {
    with(&input).unwrap_or_else(Error::into_compile_error).into()
}

/// The language crate as the deriving crate sees it: directly, or through the facade.
fn dsl_path() -> Result<Tokens> {
    crate_path("flowrun-dsl", "dsl").ok_or_else(|| Error::new(Span::call_site(), "add `flowrun` to the dependencies"))
}

/// The engine crate as the deriving crate sees it; the language's own tests see none.
fn engine_path() -> Option<Tokens> {
    crate_path("flowrun-engine", "engine")
}

fn crate_path(package: &str, module: &str) -> Option<Tokens> {
    let name = |found: FoundCrate, package: &str| match found {
        FoundCrate::Itself => Ident::new(&package.replace('-', "_"), Span::call_site()),
        FoundCrate::Name(name) => Ident::new(&name, Span::call_site()),
    };
    if let Ok(found) = crate_name(package) {
        let name = name(found, package);
        return Some(quote!(::#name));
    }
    let found = name(crate_name("flowrun").ok()?, "flowrun");
    let module = Ident::new(module, Span::call_site());
    Some(quote!(::#found::#module))
}

fn named_fields(input: &DeriveInput) -> Result<&syn::FieldsNamed> {
    match &input.data {
        Data::Struct(data) => match &data.fields {
            Fields::Named(fields) => Ok(fields),
            other => Err(Error::new_spanned(other, "fields must have names")),
        },
        _ => Err(Error::new_spanned(&input.ident, "only a struct with named fields")),
    }
}

/// The doc comment as one text, lines joined.
fn doc_of(attributes: &[syn::Attribute]) -> String {
    let lines = attributes
        .iter()
        .filter(|attribute| attribute.path().is_ident("doc"))
        .filter_map(|attribute| match &attribute.meta {
            syn::Meta::NameValue(pair) => match &pair.value {
                syn::Expr::Lit(syn::ExprLit {
                    lit: syn::Lit::Str(text),
                    ..
                }) => Some(text.value().trim().to_owned()),
                _ => None,
            },
            _ => None,
        });
    lines.collect::<Vec<_>>().join("\n").trim().to_owned()
}

fn kebab(name: &str) -> String {
    let mut out = String::new();
    for (index, letter) in name.trim_start_matches("r#").chars().enumerate() {
        match letter {
            '_' => out.push('-'),
            upper if upper.is_uppercase() => {
                if index > 0 {
                    out.push('-');
                }
                out.extend(upper.to_lowercase());
            }
            other => out.push(other),
        }
    }
    out
}

fn text(value: &str) -> LitStr {
    LitStr::new(value, Span::call_site())
}
