//! What a template comes to, and that nothing that one may contain does harm.

use std::collections::BTreeMap;

use proptest::prelude::*;
use serde_json::{Value, json};

use super::mjml;
use super::starters::{STARTERS, Starter};
use super::{CompiledTemplate, OUTPUT_MAX, Rendered, TemplateFlaw};
use crate::domain::fault::{Fault, FaultCode};
use crate::domain::template::{Alias, Part, Variant};

fn variant(subject: &str, text: &str, html: &str) -> Variant {
    let part = |source: &str| (!source.is_empty()).then(|| source.to_owned());
    Variant { subject: part(subject), text: part(text), html: part(html), mjml: None }
}

fn html(source: &str) -> Variant {
    variant("", "", source)
}

fn compile(template: &Variant, others: &[(&str, Variant)]) -> Result<CompiledTemplate, Vec<TemplateFlaw>> {
    let others: BTreeMap<_, _> = others.iter().map(|(name, other)| (Alias::parse(name).unwrap(), other)).collect();
    CompiledTemplate::new(template, &others)
}

fn render_with(template: &Variant, others: &[(&str, Variant)], variables: &Value) -> Result<Rendered, Vec<Fault>> {
    let faults = |flaws: Vec<TemplateFlaw>| flaws.into_iter().map(|flaw| flaw.at("/template")).collect::<Vec<_>>();
    let variables = variables.as_object().unwrap();
    compile(template, others).and_then(|compiled| compiled.render(variables)).map_err(faults)
}

fn render(template: &Variant, variables: &Value) -> Result<Rendered, Vec<Fault>> {
    render_with(template, &[], variables)
}

fn pointers(result: Result<Rendered, Vec<Fault>>) -> Vec<String> {
    result.unwrap_err().into_iter().map(|fault| fault.pointer).collect()
}

#[test]
fn each_part_is_filled_in_and_only_html_is_escaped() {
    let template = variant("Hi {{ name }}\n", "Hi {{ name }}", "<p>{{ name }} {{ name|safe }}</p>");
    let rendered = render(&template, &json!({"name": "<Ada & Co>"})).unwrap();
    assert_eq!(rendered.subject.unwrap(), "Hi <Ada & Co>");
    assert_eq!(rendered.text.unwrap(), "Hi <Ada & Co>");
    assert_eq!(rendered.html.unwrap(), "<p>&lt;Ada &amp; Co&gt; <Ada & Co></p>");
}

#[test]
fn a_part_that_is_not_there_is_not_made() {
    let rendered = render(&variant("", "a", ""), &json!({})).unwrap();
    assert_eq!(rendered, Rendered { text: Some("a".to_owned()), ..Rendered::default() });
}

#[test]
fn layouts_and_partials_are_those_of_the_same_part() {
    let base = variant("", "<{% block body %}{% endblock %}>", "<main>{% block body %}{% endblock %}</main>");
    let row = variant("", "", "<b>{{ item }}</b>");
    let text = "{% extends 'base' %}{% block body %}{{ items|length }}{% endblock %}";
    let page =
        "{% extends 'base' %}{% block body %}{% for item in items %}{% include 'row' %}{% endfor %}{% endblock %}";
    let template = variant("", text, page);
    let rendered = render_with(&template, &[("base", base), ("row", row)], &json!({"items": ["<", "b"]})).unwrap();
    assert_eq!(rendered.text.unwrap(), "<2>");
    assert_eq!(rendered.html.unwrap(), "<main><b>&lt;</b><b>b</b></main>");
}

#[test]
fn a_reference_to_nothing_is_told_by_part_and_line() {
    let faults = render(&html("\n\n{% include 'gone' %}"), &json!({})).unwrap_err();
    assert_eq!((&*faults[0].pointer, faults[0].code), ("/template", FaultCode::UnknownTemplate));
    assert!(faults[0].detail.starts_with("html: line 3: "), "{}", faults[0].detail);
}

#[test]
fn a_fault_of_the_language_is_told_by_part_and_line() {
    let faults = render(&variant("{{ a", "fine", "\n{% if %}"), &json!({})).unwrap_err();
    let told: Vec<_> = faults.iter().map(|fault| (fault.code, fault.detail.split(": ").take(2).collect())).collect();
    let expected = |words: [&'static str; 2]| (FaultCode::InvalidTemplate, words.to_vec());
    assert_eq!(told, [expected(["subject", "line 1"]), expected(["html", "line 2"])]);
    let faults = render_with(&html("{% include 'row' %}"), &[("row", html("{{ x|nofilter }}"))], &json!({"x": 1}));
    let fault = &faults.unwrap_err()[0];
    assert!(fault.detail.contains("line 1 of 'row'") && fault.detail.contains("nofilter"), "{}", fault.detail);
}

#[test]
fn every_missing_variable_is_told_at_once_and_by_its_place() {
    let template = variant(
        "{{ subject }}",
        "{{ user.name }} {{ user.address.city }} {{ a ~ b }} {{ user['x/y'] }}",
        "{% for item in items %}{{ item.price }}{% endfor %}{{ late }}",
    );
    let variables = json!({"user": {"name": "Ada"}, "items": [{"price": 1}, {}]});
    let mut found = pointers(render(&template, &variables));
    found.sort();
    let expected = ["a", "b", "items/1/price", "late", "subject", "user/address", "user/x~1y"];
    assert_eq!(found, expected.map(|name| format!("/template/variables/{name}")));
    let faults = render(&template, &variables).unwrap_err();
    assert!(faults.iter().all(|fault| fault.code == FaultCode::MissingVariable));
}

#[test]
fn what_a_template_does_without_is_not_missing() {
    let optional = "{% if coupon is defined %}{{ coupon }}{% endif %}{{ note|default('none') }}";
    assert_eq!(render(&html(optional), &json!({})).unwrap().html.unwrap(), "none");
    let mixed = "{% set q = wanted %}{% if coupon is defined %}x{% endif %}{{ q }}{{ range(3)|join }}";
    assert_eq!(pointers(render(&html(mixed), &json!({}))), ["/template/variables/wanted"]);
    let macros = "{% macro row(item) %}{{ item }}{{ shop }}{% endmacro %}{{ row(1) }}";
    assert_eq!(pointers(render(&html(macros), &json!({}))), ["/template/variables/shop"]);
}

#[test]
fn what_is_missing_in_a_partial_is_told_too() {
    let row = html("{{ item.name }}{{ currency }}");
    let template = html("{% for item in items %}{% include 'row' %}{% endfor %}");
    let mut found = pointers(render_with(&template, &[("row", row)], &json!({"items": [{}]})));
    found.sort();
    assert_eq!(found, ["/template/variables/currency", "/template/variables/items/0/name"]);
}

#[test]
fn null_may_be_asked_for_and_is_never_written() {
    let asking = "{% if a %}x{% else %}y{% endif %}{{ a is none }}";
    assert_eq!(render(&html(asking), &json!({"a": null})).unwrap().html.unwrap(), "yTrue");
    assert_eq!(pointers(render(&html("{{ a }}{{ b.c }}"), &json!({"a": null, "b": {"c": null}}))).len(), 2);
}

#[test]
fn a_subject_of_two_lines_is_refused() {
    for evil in ["a\r\nBcc: eve@example.com", "a\nb", "a\u{0}b", "a\u{2028}b"] {
        let faults = render(&variant("{{ s }}", "t", ""), &json!({ "s": evil })).unwrap_err();
        assert_eq!((&*faults[0].pointer, faults[0].code), ("/template", FaultCode::ControlCharacter), "{evil:?}");
    }
    assert_eq!(render(&variant("\n {{ s }} \n\n", "t", ""), &json!({"s": "a"})).unwrap().subject.unwrap(), "a");
}

/// Sources that a careless or malicious author may write.
fn hostile() -> Vec<String> {
    let deep = |open: &str, close: &str, times: usize| format!("{}x{}", open.repeat(times), close.repeat(times));
    let mut sources: Vec<String> = [
        "{% for i in range(1000000000) %}x{% endfor %}",
        "{% for i in range(100000) %}{% for j in range(100000) %}{% endfor %}{% endfor %}",
        "{{ 'x' * 1000000000 }}",
        "{% set s = 'x' * 100000 %}{% for i in range(1000) %}{{ s }}{% endfor %}",
        "{% set s = namespace(v='x') %}{% for i in range(60) %}{% set s.v = s.v ~ s.v %}{% endfor %}{{ s.v }}",
        "{% macro m(n) %}{{ m(n + 1) }}{% endmacro %}{{ m(0) }}",
        "{% macro a(n) %}{{ b(n) }}{% endmacro %}{% macro b(n) %}{{ a(n) }}{{ a(n) }}{% endmacro %}{{ a(0) }}",
        "{{ range(100000)|list|sort|join(',') }}",
        "{{ 'x'|indent(1000000000) }}",
        "{{ 'a'|replace('', 'b' * 100000) }}",
        "{{ [1] * 1000000000 }}",
        "{{ '%1000000000d'|format(1) }}",
        "{{ 10 ** 10000 }}",
        "{{ 1 // 0 }}{{ 1 % 0 }}",
        "{% include '' %}",
        "{% extends 'self' %}",
        "{% include 'self' %}",
        "{% include 'one' %}",
        "{% extends 'one' %}",
        "{% block a %}{{ self.a() }}{% endblock %}",
        "{% extends 'parent' %}{% block a %}{{ super() }}{{ self.a() }}{% endblock %}",
        "{% set x = [] %}{{ debug() }}",
        "{{ ''.join(range(1000000)) }}",
        "{% filter upper %}{% for i in range(10000000) %}x{% endfor %}{% endfilter %}",
        "{% for x in range(3) recursive %}{{ loop(range(3)) }}{% endfor %}",
        "{{ 'é'[0:1] }}{{ 'é' ~ '\u{1F600}' }}{{ 'abc'[::-1] }}{{ 'abc'[1000000000:] }}{{ 'a'[:-9223372036854775808] }}",
        "{{ dict(a=1)|tojson(indent=1000000000) }}",
        "{{ 'x'|center(1000000000) }}",
        "{{ range(9223372036854775807, -9223372036854775808, -1) }}",
        "{{ 170141183460469231731687303715884105727 + 1 }}{{ -(-170141183460469231731687303715884105728) }}",
        "{{ 'x'.upper().lower().__class__ }}",
        "{% raw %}{{",
        "{#",
        "{{",
        "{%",
        "{% autoescape 'json' %}{{ 'x' }}{% endautoescape %}",
        "{% import 'one' as one %}{{ one.m() }}{% from 'self' import x %}",
    ]
    .map(str::to_owned)
    .to_vec();
    sources.extend([
        deep("{{ (", ") }}", 1000),
        format!("{{{{ {} }}}}", deep("(", ")", 2000)),
        format!("{{{{ {} }}}}", deep("[", "]", 2000)),
        format!("{{{{ {}1 }}}}", "not ".repeat(20_000)),
        format!("{{{{ {}1 }}}}", "-".repeat(20_000)),
        format!("{{{{ 1{} }}}}", "+1".repeat(20_000)),
        format!("{{{{ a{} }}}}", ".b".repeat(20_000)),
        format!("{{{{ a{} }}}}", "|upper".repeat(20_000)),
        format!("{{{{ 1{} }}}}", " if 1 else 2".repeat(10_000)),
        deep("{% if 1 %}", "{% endif %}", 2000),
        deep("{% for i in [1] %}", "{% endfor %}", 2000),
        format!("{{% if 1 %}}{}{{% endif %}}", "{% elif 1 %}x".repeat(20_000)),
        format!("{{% if 0 %}}{}{{% endif %}}", "{% elif 0 %}x".repeat(100)),
        format!("{{% set x = [] %}}{}", "{% set x = [x] %}".repeat(15_000)),
        format!("{{% set x = [] %}}{}{{{{ x|tojson|length }}}}", "{% set x = [x] %}".repeat(990)),
        format!("{{% set x = [] %}}{}{{{{ x == [x] }}}}{{{{ x }}}}", "{% set x = {'a': x} %}".repeat(990)),
        format!("{{% set x = [] %}}{}{{{{ x|length }}}}", "{% set x = dict(a=x) %}".repeat(990)),
        format!("{{% set x = [1] %}}{}{{{{ x|length }}}}", "{% set x = x|map('list')|list|batch(1) %}".repeat(240)),
        format!("{{% set x = [1] %}}{}{{{{ x|tojson|length }}}}", "{% set x = [x, x] %}".repeat(60)),
        format!("{{% set x = [1] %}}{}{{{{ x|string|length }}}}{{{{ x }}}}", "{% set x = [x, x] %}".repeat(60)),
        format!(
            "{{% set x = [1] %}}{{% set y = [1] %}}{}{{{{ x == y }}}}{{{{ x in [y] }}}}{{{{ x < y }}}}{{{{ [x, y]|unique|list }}}}",
            "{% set x = [x, x] %}{% set y = [y, y] %}".repeat(60)
        ),
        format!("{{% set x = [1] %}}{}{{{{ [x, x]|sort }}}}{{{{ {{x: 1}} }}}}", "{% set x = [x, x] %}".repeat(60)),
        format!("{{% set x = [1] %}}{}{{{{ '%s'|format(x) }}}}{{{{ x|join }}}}", "{% set x = [x, x] %}".repeat(60)),
        format!("{{{{ {}1 }}}}", "not ".repeat(250)),
        format!("{{{{ {}1 }}}}", "-".repeat(250)),
        format!("{{{{ a{} }}}}", "|upper".repeat(140)),
        "{% set ns = namespace(v=[]) %}{% for i in range(100000) %}{% set ns.v = [ns.v] %}{% endfor %}".to_owned(),
    ]);
    sources
}

#[test]
fn whatever_a_template_contains_its_rendering_ends_within_bounds() {
    let parent = html("{% block a %}{% endblock %}");
    let (one, two) = (html("{% include 'two' %}{% include 'two' %}"), html("{% include 'one' %}{% include 'one' %}"));
    // A thread of the runtime has so much stack.
    let work = move || {
        for source in hostile() {
            let itself = html(&source);
            let others =
                [("self", itself.clone()), ("one", one.clone()), ("two", two.clone()), ("parent", parent.clone())];
            let result = render_with(&itself, &others, &json!({"a": "x"}));
            if let Ok(rendered) = result {
                assert!(rendered.html.unwrap().len() <= OUTPUT_MAX);
            }
        }
    };
    std::thread::Builder::new().stack_size(2 << 20).spawn(work).unwrap().join().unwrap();
}

#[test]
fn json_in_html_cannot_end_its_script() {
    let source = "<script type=\"application/ld+json\">{{ data|tojson }}</script>";
    let rendered = render(&html(source), &json!({"data": {"a": ["</script>", null, 1.5, "é'&"]}})).unwrap();
    let expected = r#"{"a":["\u003c/script\u003e",null,1.5,"é\u0027\u0026"]}"#;
    assert_eq!(rendered.html.unwrap(), source.replace("{{ data|tojson }}", expected));
}

#[test]
fn endless_work_and_endless_output_are_told_apart() {
    let code = |source: &str| render(&html(source), &json!({})).unwrap_err().remove(0);
    assert!(
        code("{% for i in range(100000) %}{% for j in range(1000) %}{% endfor %}{% endfor %}").detail.contains("work")
    );
    let long = code("{% for i in range(3) %}{{ 'x' * 500000 }}{% endfor %}");
    assert!(long.detail.contains("more than 1048576 bytes"), "{}", long.detail);
    assert_eq!(long.code, FaultCode::TemplateFailed);
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(200))]
    #[test]
    fn no_source_and_no_variables_make_it_panic(
        pieces in prop::collection::vec(prop::sample::select(vec![
            "{{", "}}", "{%", "%}", "{#", "#}", " for ", " x ", " in ", "range(9)", " endfor ", " if ", " endif ", "|", "join",
            "upper", "(", ")", "[", "]", ".", "a", "'s'", "\"", "1", "-", "*", "~", " set ", "=", " block b ", " endblock ",
            " macro m(x) ", " endmacro ", "m(1)", " include 'p' ", " extends 'p' ", "é", "\n", " is defined ", "loop", ":", ",",
        ]), 0..40),
        value in prop::sample::select(vec![json!(null), json!("é"), json!(-1), json!([1, {"a": []}]), json!({"a": {"b": 1}})]),
    ) {
        let source = pieces.concat();
        let template = variant(&source, &source, &source);
        let _ = render_with(&template, &[("p", template.clone())], &json!({"a": value, "x": value}));
        let _ = mjml::html(&format!("<mjml><mj-body>{source}</mj-body></mjml>"));
    }
}

#[test]
fn the_names_that_a_template_looks_up_are_known() {
    let base = html("{{ product }}{% block b %}{% endblock %}");
    let template = html(
        "{% extends 'base' %}{% block b %}{% for i in items %}{{ i.name }}{{ range(2) }}{% endfor %}{% endblock %}",
    );
    let names = compile(&template, &[("base", base)]).unwrap().variables();
    assert_eq!(names.into_iter().collect::<Vec<_>>(), ["items", "product"]);
}

#[test]
fn mjml_becomes_html_and_leaves_what_is_filled_in_later() {
    let source = "<mjml><mj-head><mj-title>{{ title }}</mj-title></mj-head><mj-body><mj-section><mj-column>\
        <mj-raw>{% if paid %}</mj-raw><mj-text>Hi {{ name|upper }} {% if a %}b{% endif %}</mj-text><mj-raw>{% endif %}</mj-raw>\
        <mj-raw>{% for item in items %}</mj-raw><mj-button href=\"{{ url }}?a=1&b={{ name }}\">Go</mj-button><mj-raw>{% endfor %}</mj-raw>\
        </mj-column></mj-section></mj-body></mjml>";
    let made = mjml::html(source).unwrap_or_else(|flaw| panic!("{}", flaw.detail));
    for kept in [
        "{{ title }}",
        "{{ name|upper }} {% if a %}b{% endif %}",
        "{% if paid %}",
        "{% for item in items %}",
        "{% endfor %}",
        "{{ url }}?a=1&b={{ name }}",
    ] {
        assert!(made.contains(kept), "{kept}: {made}");
    }
    assert!(!made.contains("fonts.googleapis.com"), "a message loads nothing that its author did not write");
}

#[test]
fn mjml_that_is_none_is_refused_and_does_no_harm() {
    for wrong in ["", "<p>Hi</p>", "<mjml><mj-body>", "<mjml><mj-nothing/></mjml>", "not even", "<mjml>\u{0}</mjml"] {
        let refused = mjml::html(wrong);
        assert!(refused.is_err() || wrong.starts_with("<mjml>"), "{wrong}");
    }
    let include = "<mjml><mj-body><mj-include path=\"/etc/passwd\" /></mj-body></mjml>";
    assert_eq!(mjml::html(include).unwrap_err().code, FaultCode::InvalidTemplate);
    let deep = |element: &str| format!("<mjml><mj-body>{}", format!("<{element}>").repeat(10_000));
    for element in ["mj-section", "mj-wrapper", "div", "mj-raw", "b a='>'"] {
        assert!(mjml::html(&deep(element)).is_err(), "{element}");
    }
}

#[test]
fn every_starter_is_rendered_with_its_samples_and_misses_nothing_silently() {
    for starter in STARTERS {
        let (variants, samples) = (starter.variants(), starter.samples());
        assert_eq!(variants.len(), 2, "{}", starter.name);
        for (locale, variant) in &variants {
            let compiled = CompiledTemplate::new(variant, &BTreeMap::new()).unwrap();
            let rendered = compiled.render(&samples).unwrap();
            let (subject, text, html) = (rendered.subject.unwrap(), rendered.text.unwrap(), rendered.html.unwrap());
            for part in [&subject, &text, &html] {
                assert!(!part.is_empty() && !part.contains("{{") && !part.contains("{%"), "{}", starter.name);
            }
            assert!(html.contains(&format!("<html lang=\"{locale}\"")) && !html.contains("%content%"));
            assert!(html.len() < 20_000);
            let is_chinese = subject.chars().chain(text.chars()).any(|c| ('\u{4e00}'..='\u{9fff}').contains(&c));
            assert_eq!(is_chinese, locale.as_str() == "zh-Hans", "{}", starter.name);
            for name in samples.keys() {
                let mut fewer = samples.clone();
                fewer.remove(name);
                let flaws = compiled.render(&fewer).unwrap_err();
                let pointers: Vec<_> = flaws.into_iter().map(|flaw| flaw.at("").pointer).collect();
                assert_eq!(pointers, [format!("/variables/{name}")], "{} {locale}", starter.name);
            }
            let nothing = compiled.render(&serde_json::Map::new()).unwrap_err();
            assert_eq!(nothing.len(), samples.len(), "{} {locale}", starter.name);
        }
        assert_eq!(Part::ALL.len(), 3);
    }
    assert!(Starter::find("receipt").is_some() && Starter::find("nothing").is_none());
}
