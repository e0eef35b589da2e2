//! Parameter structs.

use proc_macro2::TokenStream as Tokens;
use quote::quote;
use syn::{DeriveInput, Error, Expr, Field, LitStr, Result};

#[derive(Default)]
struct Options {
    name: Option<LitStr>,
    default: Option<LitStr>,
    positional: bool,
    live: bool,
    reset: bool,
    min: Option<Expr>,
    max: Option<Expr>,
}

fn options(field: &Field) -> Result<Options> {
    let mut options = Options::default();
    for attribute in field
        .attrs
        .iter()
        .filter(|attribute| attribute.path().is_ident("param"))
    {
        attribute.parse_nested_meta(|meta| {
            let word = meta.path.get_ident().map(ToString::to_string).unwrap_or_default();
            match word.as_str() {
                "positional" => options.positional = true,
                "live" => options.live = true,
                "reset" => options.reset = true,
                "name" => options.name = Some(meta.value()?.parse()?),
                "default" => options.default = Some(meta.value()?.parse()?),
                "min" => options.min = Some(meta.value()?.parse()?),
                "max" => options.max = Some(meta.value()?.parse()?),
                _ => return Err(meta.error("expected positional, live, reset, name, default, min or max")),
            }
            Ok(())
        })?;
    }
    if options.live && options.reset {
        return Err(Error::new_spanned(field, "a parameter is live or reset, not both"));
    }
    Ok(options)
}

pub fn expand(input: &DeriveInput) -> Result<Tokens> {
    let dsl = crate::dsl_path()?;
    let name = &input.ident;
    let doc = crate::text(&crate::doc_of(&input.attrs));
    let (mut specs, mut reads) = (Vec::new(), Vec::new());
    for field in &crate::named_fields(input)?.named {
        let ident = field.ident.as_ref().expect("named fields have names");
        let ty = &field.ty;
        let options = options(field)?;
        let doc = crate::doc_of(&field.attrs);
        if doc.is_empty() {
            return Err(Error::new_spanned(
                field,
                "document it: the doc comment is what `flowrun ops` prints",
            ));
        }
        let doc = crate::text(&doc);
        let word = options
            .name
            .unwrap_or_else(|| crate::text(&crate::kebab(&ident.to_string())));
        let change = match (options.live, options.reset) {
            (true, _) => quote!(Live),
            (_, true) => quote!(Reset),
            _ => quote!(Kept),
        };
        let default = match options.default {
            Some(default) => quote!(::std::option::Option::Some(
                #dsl::params::parse_text(&<#ty as #dsl::params::ParamValue>::param_type(), #default).expect("a default in the code is valid")
            )),
            None => quote!(::std::option::Option::None),
        };
        let bound = |bound: Option<Expr>| match bound {
            Some(bound) => quote!(::std::option::Option::Some((#bound) as f64)),
            None => quote!(::std::option::Option::None),
        };
        let (min, max, positional) = (bound(options.min), bound(options.max), options.positional);
        specs.push(quote! {
            #dsl::params::ParamSpec {
                name: #word.into(),
                doc: #doc.into(),
                ty: <#ty as #dsl::params::ParamValue>::param_type(),
                change: #dsl::params::Change::#change,
                default: #default,
                optional: <#ty as #dsl::params::ParamValue>::OPTIONAL,
                positional: #positional,
                min: #min,
                max: #max,
            }
        });
        reads.push(quote! {
            #ident: <#ty as #dsl::params::ParamValue>::from_value(values.get(#word))
                .map_err(|cause| #dsl::params::ParamError { param: #word.into(), cause })?
        });
    }
    Ok(quote! {
        impl #dsl::params::Params for #name {
            fn schema() -> #dsl::params::ParamsSchema {
                #dsl::params::ParamsSchema { doc: #doc.into(), params: ::std::vec![#(#specs),*] }
            }
            fn from_values(values: &#dsl::params::ParamValues) -> ::std::result::Result<Self, #dsl::params::ParamError> {
                ::std::result::Result::Ok(#name { #(#reads),* })
            }
        }
    })
}
