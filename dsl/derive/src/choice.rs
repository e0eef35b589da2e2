//! Enums whose variants are words of the language.

use proc_macro2::TokenStream as Tokens;
use quote::quote;
use syn::{Data, DeriveInput, Error, Fields, Result};

pub fn expand(input: &DeriveInput) -> Result<Tokens> {
    let Data::Enum(data) = &input.data else {
        return Err(Error::new_spanned(&input.ident, "only an enum"));
    };
    if let Some(variant) = data
        .variants
        .iter()
        .find(|variant| !matches!(variant.fields, Fields::Unit))
    {
        return Err(Error::new_spanned(variant, "a choice has no fields"));
    }
    let dsl = crate::dsl_path()?;
    let name = &input.ident;
    let variants: Vec<_> = data.variants.iter().map(|variant| &variant.ident).collect();
    let words: Vec<_> = variants
        .iter()
        .map(|variant| crate::text(&crate::kebab(&variant.to_string())))
        .collect();
    Ok(quote! {
        impl #dsl::params::ParamValue for #name {
            fn param_type() -> #dsl::params::ParamType {
                #dsl::params::ParamType::Choice(::std::vec![#(::std::string::String::from(#words)),*])
            }
            fn from_value(value: ::std::option::Option<&#dsl::value::Value>) -> ::std::result::Result<Self, ::std::string::String> {
                match value {
                    #(::std::option::Option::Some(#dsl::value::Value::Text(word)) if word == #words => ::std::result::Result::Ok(#name::#variants),)*
                    ::std::option::Option::Some(other) => ::std::result::Result::Err(::std::format!("`{other}` is none of {}", [#(#words),*].join(", "))),
                    ::std::option::Option::None => ::std::result::Result::Err("is required".into()),
                }
            }
        }
    })
}
