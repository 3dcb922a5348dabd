"""Stage `report`: write one HTML page about runs or a comparison."""
