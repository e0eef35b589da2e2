//! Row structs of researchers.

use proc_macro2::TokenStream as Tokens;
use quote::quote;
use syn::{DeriveInput, Index, Result};

pub fn expand(input: &DeriveInput) -> Result<Tokens> {
    let dsl = crate::dsl_path()?;
    let name = &input.ident;
    let table = crate::text(&crate::kebab(&name.to_string()));
    let fields = &crate::named_fields(input)?.named;
    let idents: Vec<_> = fields
        .iter()
        .map(|field| field.ident.as_ref().expect("named fields have names"))
        .collect();
    let types: Vec<_> = fields.iter().map(|field| &field.ty).collect();
    let words: Vec<_> = idents
        .iter()
        .map(|ident| crate::text(ident.to_string().trim_start_matches("r#")))
        .collect();
    let places: Vec<_> = (0..idents.len()).map(Index::from).collect();
    let count = idents.len();
    // Only the language's own tests see no engine.
    let row_type = crate::engine_path().map(|engine| {
        quote! {
            impl #engine::batch::RowType for #name {
                fn kind() -> #dsl::port::RowKind {
                    #dsl::port::RowKind::Table(<Self as #dsl::schema::Row>::schema())
                }
                fn from_batch(batch: &#engine::batch::Batch) -> ::std::option::Option<#engine::rows::Rows<Self>> {
                    #engine::batch::rows_of(batch)
                }
                fn into_batch(rows: ::std::vec::Vec<Self>) -> #engine::batch::Batch {
                    #engine::batch::table_of(&rows)
                }
            }
        }
    });
    Ok(quote! {
        #row_type
        impl #dsl::schema::Row for #name {
            fn schema() -> #dsl::schema::Schema {
                #dsl::schema::Schema {
                    name: #table.into(),
                    columns: ::std::vec![#(#dsl::schema::Column { name: #words.into(), ty: <#types as #dsl::schema::CellValue>::TYPE }),*],
                }
            }
            fn to_cells(&self) -> ::std::vec::Vec<#dsl::schema::Cell> {
                ::std::vec![#(#dsl::schema::CellValue::to_cell(&self.#idents)),*]
            }
            fn from_cells(cells: &[#dsl::schema::Cell]) -> ::std::option::Option<Self> {
                if cells.len() != #count {
                    return ::std::option::Option::None;
                }
                ::std::option::Option::Some(#name { #(#idents: #dsl::schema::CellValue::from_cell(&cells[#places])?),* })
            }
        }
    })
}
