//! Starts the page. Thin: the page itself is in the library, so that its decisions are tested
//! without a browser.

#[cfg(target_arch = "wasm32")]
mod link;

#[cfg(target_arch = "wasm32")]
fn main() {
    console_error_panic_hook::set_once();
    let props = potluck_app::view::AppProps {
        platform: potluck_app::store::PlatformHandle::new(link::Browser::default()),
    };
    // In a frame of another site's page it is only a widget, in the language of that document.
    if let Some(element) = gloo::utils::document().get_element_by_id("widget") {
        wasm_bindgen_futures::spawn_local(async move {
            let language = potluck_app::browser::document_language();
            let _english = potluck_app::store::speak(language).await;
            yew::Renderer::<potluck_app::widget::Widget>::with_root_and_props(element, props)
                .render();
        });
        return;
    }
    wasm_bindgen_futures::spawn_local(async {
        // Whose words cannot be had reads English, and can choose again.
        let _english = potluck_app::store::speak(potluck_app::browser::language()).await;
        match gloo::utils::document().get_element_by_id("page") {
            Some(element) => {
                yew::Renderer::<potluck_app::view::App>::with_root_and_props(element, props)
                    .render()
            }
            None => yew::Renderer::<potluck_app::view::App>::with_props(props).render(),
        };
    });
}

#[cfg(not(target_arch = "wasm32"))]
fn main() {
    eprintln!(
        "this is the web page; `cargo xtask build` builds it, `trunk serve` builds and serves it"
    );
}
