"""A liberty file of a few standard cells, whose areas and delays are easy to add up."""

GATE_PS = 50  # from each input of a gate to its output, whatever the load
AREAS = {"INV": 1.0, "NAND2": 2.0, "NOR2": 2.0, "AND2": 3.0, "BUF": 2.0, "DFF": 10.0}

_TABLE = 'index_1 ("0.01, 0.1"); index_2 ("1, 10"); values ("{0}, {0}", "{0}, {0}");'


def _timing(pin: str, picoseconds: float, sense: str, kind: str = "") -> str:
    tables = "".join(f"{name} (table) {{ {_TABLE.format(value)} }} " for name, value in (
        ("cell_rise", picoseconds), ("cell_fall", picoseconds), ("rise_transition", 20), ("fall_transition", 20)))
    return f'timing () {{ related_pin : "{pin}"; {kind} timing_sense : {sense}; {tables} }} '


def _gate(name: str, inputs: str, function: str) -> str:
    pins = "".join(f"pin ({pin}) {{ direction : input; capacitance : 1; }} " for pin in inputs)
    sense = "negative_unate" if function[0] == "!" else "positive_unate"
    timing = "".join(_timing(pin, GATE_PS, sense) for pin in inputs)
    return (f'cell ({name}) {{ area : {AREAS[name]}; {pins} pin (Y) {{ direction : output; max_capacitance : 100; '
            f'function : "{function}"; {timing} }} }}\n')


def liberty() -> str:
    """The text of the file: gates and a flip-flop."""
    flip_flop = (
        f'cell (DFF) {{ area : {AREAS["DFF"]}; ff (IQ, IQN) {{ next_state : "D"; clocked_on : "CK"; }} '
        "pin (D) { direction : input; capacitance : 1; } "
        "pin (CK) { direction : input; capacitance : 1; clock : true; } "
        'pin (Q) { direction : output; max_capacitance : 100; function : "IQ"; '
        + _timing("CK", 100, "non_unate", "timing_type : rising_edge;") + "} }\n")
    return ('library (cells) {\ndelay_model : table_lookup; time_unit : "1ps"; voltage_unit : "1V"; '
            'current_unit : "1mA"; capacitive_load_unit (1, ff); pulling_resistance_unit : "1kohm"; '
            "leakage_power_unit : \"1nW\";\nlu_table_template (table) { variable_1 : input_net_transition; "
            'variable_2 : total_output_net_capacitance; index_1 ("0.01, 0.1"); index_2 ("1, 10"); }\n'
            + _gate("INV", "A", "!A") + _gate("NAND2", "AB", "!(A&B)") + _gate("NOR2", "AB", "!(A|B)")
            + _gate("AND2", "AB", "A&B") + _gate("BUF", "A", "A") + flip_flop + "}\n")
