//! Where everything is, by values.

use potluck_protocol::api::{ModelCopies, SwarmTotals};

use super::*;
use crate::state::swarm::swarm_of;

const YOU: Option<NodeId> = Some(NodeId([1; 32]));

fn range(first: u32, end: u32) -> LayerRange {
    LayerRange { first, end }
}

fn blocks(map: &Map) -> &[Block] {
    match &map.below {
        Below::Seats { blocks, .. } => blocks,
        Below::Counts(_) => panic!("counts: {map:?}"),
    }
}

fn chairs(map: &Map) -> Vec<&Seat> {
    blocks(map).iter().flat_map(|block| &block.seats).collect()
}

#[test]
fn six_layers_are_six_dishes_and_their_holders_sit_below_them() {
    let map = arrange(&swarm_of(&[Some([0, 2]), Some([3, 5])]), "", 6, YOU);
    let dishes: Vec<(f64, Option<&str>)> =
        map.dishes.iter().map(|dish| (dish.x.round(), dish.label.as_deref())).collect();
    let labels = ["0", "1", "2", "3", "4", "5"].map(Some);
    let places = [43.0, 96.0, 149.0, 203.0, 256.0, 309.0];
    assert_eq!(dishes, places.into_iter().zip(labels).collect::<Vec<_>>());
    assert!(map.dishes.iter().all(|dish| dish.width == DISH && !dish.is_missing));
    let at: Vec<Point> = chairs(&map).iter().map(|seat| seat.at).collect();
    assert_eq!(at, [Point { x: 96.0, y: 98.0 }, Point { x: 256.0, y: 98.0 }]);
    assert_eq!(blocks(&map)[0].bracket, (16.0, 176.0, 72.0));
    assert_eq!(map.height, 150.0);
    assert!(chairs(&map)[0].sitter.unwrap().is_you);
}

#[test]
fn who_holds_the_same_sits_together_and_who_overlaps_sits_below() {
    let map = arrange(&swarm_of(&[Some([0, 5]), Some([0, 5]), Some([0, 2])]), "", 6, YOU);
    let held: Vec<_> = blocks(&map).iter().map(|block| (block.layers, block.seats.len())).collect();
    assert_eq!(held, [(Some(range(0, 3)), 1), (Some(range(0, 6)), 2)]);
    assert!(blocks(&map)[1].bracket.2 > chairs(&map)[0].at.y);
    assert_eq!(blocks(&map)[1].seats[0].at.y, blocks(&map)[1].seats[1].at.y);
}

#[test]
fn what_nobody_holds_has_an_empty_chair() {
    let map = arrange(&swarm_of(&[Some([0, 1])]), "", 6, None);
    let block = blocks(&map).iter().find(|block| block.seats[0].sitter.is_none()).unwrap();
    assert_eq!(block.layers, Some(range(2, 6)));
    let missing: Vec<bool> = map.dishes.iter().map(|dish| dish.is_missing).collect();
    assert_eq!(missing, [false, false, true, true, true, true]);
    let empty = arrange(&Swarm::default(), "", 6, None);
    assert_eq!(blocks(&empty)[0].layers, Some(range(0, 6)));
    assert_eq!(arrange(&Swarm::default(), "", 0, None).dishes, []);
}

#[test]
fn a_visitor_finds_a_chair_at_a_full_table_and_a_volunteer_does_not() {
    let full = swarm_of(&[Some([0, 5]), None]);
    let last = |you| blocks(&arrange(&full, "", 6, you)).last().unwrap().clone();
    assert_eq!((last(None).layers, last(None).seats.len()), (None, 2));
    assert_eq!(last(None).seats[1].sitter, None);
    assert_eq!(last(YOU).seats.len(), 1);
}

#[test]
fn everything_stays_inside_and_nothing_overlaps() {
    for layers in [1_u32, 6, 13, 32, 80] {
        for count in 0..=u32::try_from(MAX_SEATS).expect("a small number") {
            let ranges: Vec<_> = (0..count)
                .map(|node| {
                    let first = node * 7 % layers;
                    (node % 11 != 10).then(|| [first, (first + node % 5).min(layers - 1)])
                })
                .collect();
            let map = arrange(&swarm_of(&ranges), "", layers, None);
            let Below::Seats { .. } = map.below else { continue };
            let seats = chairs(&map);
            assert!(seats.iter().filter(|seat| seat.sitter.is_some()).count() == count as usize);
            for (place, seat) in seats.iter().enumerate() {
                let inside = SEAT_RADIUS..=WIDTH - SEAT_RADIUS;
                assert!(inside.contains(&seat.at.x), "{layers} layers, {count} nodes: {seat:?}");
                assert!(seat.at.y + SEAT_RADIUS <= map.height);
                for other in &seats[..place] {
                    let apart = (seat.at.x - other.at.x).hypot(seat.at.y - other.at.y);
                    assert!(apart > 2.0 * SEAT_RADIUS, "{layers} layers, {count} nodes: {apart}");
                }
            }
        }
    }
}

#[test]
fn labels_of_many_layers_do_not_overlap() {
    for layers in [1_u32, 16, 17, 32, 80, 200] {
        let map = arrange(&Swarm::default(), "", layers, None);
        assert!(map.dishes.len() <= MAX_DISHES as usize);
        assert_eq!(map.dishes.last().unwrap().layers.end, layers);
        let labelled: Vec<f64> =
            map.dishes.iter().filter(|dish| dish.label.is_some()).map(|dish| dish.x).collect();
        assert!(labelled.windows(2).all(|pair| pair[1] - pair[0] >= LABEL_WIDTH - 0.1), "{layers}");
    }
}

#[test]
fn a_crowd_is_counted() {
    let crowd = Swarm {
        copies: vec![ModelCopies { name: "m".to_owned(), layers: 4, copies: vec![80, 80, 40, 0] }],
        totals: SwarmTotals { nodes: 400, ..SwarmTotals::default() },
        ..Swarm::default()
    };
    let map = arrange(&crowd, "m", 4, None);
    let Below::Counts(bars) = &map.below else { panic!("{map:?}") };
    let bars: Vec<_> =
        bars.iter().map(|bar| (bar.layers, bar.copies, bar.height, bar.ends)).collect();
    let wanted = [
        (range(0, 2), 80, 96.0, (16.0, 176.0)),
        (range(2, 3), 40, 48.0, (176.0, 256.0)),
        (range(3, 4), 0, 0.0, (256.0, 336.0)),
    ];
    assert_eq!(bars, wanted);
    assert!(map.dishes[3].is_missing && !map.dishes[2].is_missing);
    assert_eq!(arrange(&crowd, "another", 4, None).below, Below::Counts(vec![]));
}

#[test]
fn above_sixty_nodes_everybody_is_counted_and_names_are_written_up_to_twelve() {
    let with = |count: usize| arrange(&swarm_of(&vec![Some([0, 5]); count]), "m", 6, YOU).below;
    assert!(matches!(with(MAX_NAMES), Below::Seats { are_named: true, .. }));
    assert!(matches!(with(MAX_SEATS), Below::Seats { are_named: false, .. }));
    assert!(matches!(with(MAX_SEATS + 1), Below::Counts(_)));
}

#[test]
fn the_way_goes_along_the_table_in_the_order_of_the_route_and_ends_in_the_bowl() {
    let stage =
        |byte, first, end| StageView { node: NodeId([byte; 32]), layers: range(first, end) };
    let path = way(&[stage(1, 0, 3), stage(2, 3, 6)], 6).unwrap();
    assert_eq!(path, "M96.0 50.0 L256.0 50.0 L368.0 34.0");
    assert_eq!(way(&[], 6), None);
}
